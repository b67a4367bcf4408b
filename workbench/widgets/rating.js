// Rating by keyboard.

function part(name, text, kind) {
  return element("section", { class: `wb-part ${kind}`, "aria-label": name },
    element("h4", { text: name }), element("div", { class: "wb-text", dir: "auto", text: text || "(empty)" }));
}

function render({ model, el }) {
  const root = frame("wb-rating", "", "application");
  root.setAttribute("aria-roledescription", "rating by keyboard");
  const live = element("div", { class: "wb-live", role: "status", "aria-live": "polite" });
  const body = element("div");
  root.append(errorLine(model), body, live);
  el.append(root);

  const send = (content) => {
    const card = model.get("state").card;
    model.send({ ...content, card: card ? card.id : "" });
  };

  function keyed(label, key, action, kind = "") {
    const press = () => { action(); root.focus({ preventScroll: true }); };
    const made = button("", press, { class: `wb-key ${kind}`, "aria-keyshortcuts": key, "aria-label": `${label}, key ${key}` });
    made.append(element("kbd", { text: key }), element("span", { text: label }));
    return made;
  }

  function draw() {
    const state = model.get("state");
    const done = state.rated + state.skipped;
    const skipped = state.skipped ? `, ${state.skipped} skipped` : "";
    const bar = element("progress", { max: String(state.total || 1), value: String(done), "aria-label": "progress" });
    const parts = [element("div", { class: "wb-head" },
      element("strong", { text: state.question }),
      element("span", { class: "wb-count", text: `${state.rated} of ${state.total} rated${skipped}` }), bar)];
    const card = state.card;
    if (card) {
      for (const [name, text] of card.inputs) parts.push(part(name, text, "wb-input"));
      if (card.context) parts.push(part("context", card.context, "wb-input"));
      if (card.expected) parts.push(part("expected", card.expected, "wb-input"));
      const names = card.answers.length > 1 ? ["A", "B"] : ["answer"];
      parts.push(element("div", { class: "wb-answers" }, ...card.answers.map((text, at) => part(names[at], text, "wb-answer"))));
    } else {
      parts.push(element("p", { text: state.total ? `All is rated. Thank you, ${state.rater}.` : "There is nothing to rate." }));
      if (state.total) parts.push(element("p", { text: state.agreement }));
    }
    const keys = card ? state.choices.map((c) => keyed(c.label, c.key, () => send({ do: "vote", vote: c.value }), "wb-choice")) : [];
    if (card) keys.push(keyed("skip", "s", () => send({ do: "skip" })));
    if (done) keys.push(keyed("undo", "u", () => send({ do: "undo" })));
    parts.push(element("div", { class: "wb-keys", role: "group", "aria-label": "your rating" }, ...keys));
    body.replaceChildren(...parts);
    const said = card ? `${state.rated + 1} of ${state.total}. ${card.answers.join(". ")}` : "All is rated.";
    live.textContent = said.slice(0, 600);
    root.setAttribute("aria-label", `${state.question} Keys: ${state.choices.map((c) => `${c.key} ${c.label}`).join(", ")}, s skip, u undo`);
  }

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const state = model.get("state");
    const choice = state.card && state.choices.find((c) => c.key === key);
    if (choice && !event.repeat) send({ do: "vote", vote: choice.value });
    else if (key === "s" && state.card && !event.repeat) send({ do: "skip" });
    else if (key === "u" || key === "backspace") { if (!event.repeat) send({ do: "undo" }); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  model.on("change:state", draw);
  draw();
  return () => model.off("change:state", draw);
}

export default { render };
