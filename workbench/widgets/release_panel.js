// What is live, its history, and how to change it. What is typed stays while the rest is drawn anew.

function table(caption, heads, rows, kind = "") {
  const body = rows.map((row) => element("tr", {}, ...row.map((cell) =>
    element("td", { dir: "auto" }, cell instanceof Node ? cell : document.createTextNode(cell)))));
  return element("div", { class: `wb-scroll ${kind}`, tabindex: "0", role: "region", "aria-label": caption },
    element("table", { "aria-label": caption },
      element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col", text })))),
      element("tbody", {}, ...body)));
}

function drawDiff(diff) {
  const parts = [element("p", { text: diff.caption })];
  if (diff.same) parts.push(element("p", { text: "They answer the same." }));
  if (diff.rows.length) {
    parts.push(table("fields that differ", ["what", `release ${diff.before}`, `release ${diff.after}`], diff.rows));
  }
  if (diff.pieces.some(([kind]) => kind !== "=")) {
    parts.push(element("h4", { text: "prompt" }), element("div", { class: "wb-text wb-words", dir: "auto" }, ...words(diff.pieces)));
  }
  return parts;
}

function field(label, input) {
  return element("label", {}, element("span", { text: label }), input);
}

function render({ model, el }) {
  const root = frame("wb-release", "release panel");
  const away = element("p", { class: "wb-away", role: "status" });
  const live = element("section", { "aria-label": "what is live" });
  const said = element("p", { class: "wb-said", role: "status", "aria-live": "polite" });
  const plan = element("section", { class: "wb-plan", "aria-label": "plan", tabindex: "-1" });
  const difference = element("section", { "aria-label": "comparison of two releases", "aria-live": "polite" });
  const history = element("section", { "aria-label": "history" });
  const send = (content) => model.send(content);
  const id = `wb-${Math.random().toString(36).slice(2)}`;

  // release: a form that is made once
  const prompt = element("input", { type: "text", list: `${id}-prompts`, placeholder: "triage@2", autocomplete: "off", spellcheck: "false" });
  const name = element("input", { type: "text", list: `${id}-models`, placeholder: "ollama/llama3.2:3b", autocomplete: "off", spellcheck: "false" });
  const keep = element("input", { type: "checkbox" });
  keep.checked = true;
  const [prompts, models] = ["prompts", "models"].map((what) => element("datalist", { id: `${id}-${what}` }));
  const offer = button("", () => send({ do: "plan_release", offer: true, keep: keep.checked }));
  const form = element("form", { class: "wb-row" }, field("prompt", prompt), field("model", name),
    element("label", { class: "wb-check" }, keep, element("span", { text: "keep the fallback" })),
    element("button", { type: "submit", class: "wb-key", text: "Plan this release" }), prompts, models);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send({ do: "plan_release", prompt: prompt.value, model: name.value, keep: keep.checked });
  });
  const release = element("details", {}, element("summary", { text: "Release …" }), offer, form);
  release.addEventListener("toggle", () => { if (release.open) send({ do: "suggest" }); });
  const back = button("", () => send({ do: "plan_rollback" }));

  // compare: two lists, whose choice stays
  const before = element("select", {});
  const after = element("select", {});
  const compare = element("details", {}, element("summary", { text: "Compare two releases …" }),
    element("div", { class: "wb-row" }, field("from", before), field("to", after),
      button("Compare", () => send({ do: "diff", before: Number(before.value), after: Number(after.value) })),
      button("Plan to make “to” live", () => send({ do: "plan_rollback", to: Number(after.value) }))), difference);

  root.append(errorLine(model), away, live, said, element("div", { class: "wb-row" }, back), release, plan, compare, history);
  el.append(root);

  function drawAway() {
    const { fault, confirmed } = model.get("state");
    const age = confirmed ? Math.max(0, Math.round(Date.now() / 1000 - confirmed)) : null;
    const text = fault ? `Not in step with the store${age === null ? "" : ` for ${age} s`}: ${fault}` : "";
    if (away.textContent !== text) away.textContent = text;
    away.hidden = !fault;
    root.classList.toggle("wb-stale", Boolean(fault));
  }

  function drawLive(state) {
    const now = state.live;
    root.setAttribute("aria-label", `releases of ${state.feature}`);
    const title = element("div", { class: "wb-head" }, element("strong", { text: state.feature }));
    if (!now) {
      const text = state.asked ? "Nothing is live yet: the first release goes live." : "The store has not answered yet.";
      live.replaceChildren(title, element("p", { text }));
      return;
    }
    title.append(element("span", { class: "wb-number", text: `release ${now.number} is live` }));
    const names = ["prompt", "model", "digest", "params", "fallback", "since", "by", "reason", "evidence"];
    const facts = names.filter((key) => now[key]).flatMap((key) =>
      [element("dt", { text: key }), element("dd", { dir: "auto", text: now[key] })]);
    const open = live.querySelector("details")?.open;
    const text = element("details", {}, element("summary", { text: "prompt text" }), element("div", { class: "wb-text", dir: "auto", text: now.text }));
    text.open = Boolean(open);
    const runs = state.experiment;
    const arms = runs ? [element("p", { text: runs.title }),
      table(runs.title, ["arm", "release", "share of users"], runs.arms.map((row) => row.map(String)))] : [];
    live.replaceChildren(title, element("dl", {}, ...facts), text, ...arms);
  }

  for (const select of [before, after]) select.addEventListener("change", () => { select.dataset.chosen = "yes"; });
  function fill(select, releases, wanted) {
    const value = select.dataset.chosen ? select.value : String(wanted ?? "");
    select.replaceChildren(...releases.map((item) =>
      element("option", { value: String(item.number), text: `${item.number} · ${item.what} · ${item.state}` })));
    if (releases.some((item) => String(item.number) === value)) select.value = value;
  }

  function drawState() {
    const state = model.get("state");
    drawAway();
    drawLive(state);
    const events = state.events || [];
    const releases = state.releases || [];
    back.textContent = state.previous ? `Plan a rollback to release ${state.previous}` : "There is no release to roll back to";
    back.disabled = !state.previous;
    fill(before, releases, state.previous);
    fill(after, releases, state.live && state.live.number);
    compare.hidden = releases.length < 2;
    const rows = events.map((e) => [String(e.seq), e.at, e.kind, e.what, e.by, e.reason]);
    const parts = [element("h4", { text: "history" }),
      table("history, newest first", ["seq", "when (UTC)", "kind", "what", "by", "reason"], rows, "wb-history")];
    if (state.older) parts.push(element("p", { text: `and ${state.older} older changes: bench.releases.history("${state.feature}")` }));
    history.replaceChildren(...(rows.length ? parts : []));
    if (!name.value && state.live) name.value = state.live.model;
  }

  function drawChoices() {
    const choices = model.get("choices");
    prompts.replaceChildren(...(choices.prompts || []).map((value) => element("option", { value })));
    models.replaceChildren(...(choices.models || []).map((value) => element("option", { value })));
    offer.hidden = !choices.offer;
    offer.textContent = `Plan a release of ${choices.offer}`;
  }

  plan.addEventListener("keydown", (event) => { if (event.key === "Escape") send({ do: "cancel" }); });
  let planned = null;
  function drawPlan() {
    const now = model.get("plan");
    plan.hidden = !now.id;
    if (!now.id) { plan.replaceChildren(); planned = null; return; }
    if (planned && planned.id === now.id) { // only what has changed: what is typed stays
      planned.stale(now.stale);
      return;
    }
    const reason = element("input", { type: "text", required: "", "aria-required": "true", autocomplete: "off" });
    const go = element("button", { type: "submit", class: "wb-key wb-go", text: now.rollback ? `Roll back to ${now.number}` : `Make release ${now.number} live` });
    const stale = element("p", { class: "wb-error", role: "alert" });
    const check = () => { go.disabled = !reason.value.trim() || Boolean(stale.textContent); };
    reason.addEventListener("input", check);
    const ask = element("form", { class: "wb-row" }, field("reason (required)", reason), go, button("Cancel", () => send({ do: "cancel" })));
    ask.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!go.disabled) send({ do: "apply", plan: now.id, reason: reason.value });
    });
    plan.replaceChildren(element("h4", { text: "plan: nothing is changed yet" }), element("p", { dir: "auto", text: now.sentence }),
      ...(now.diff ? drawDiff(now.diff) : []), stale, ask);
    planned = { id: now.id, stale: (text) => { stale.textContent = text && `${text}. Plan again.`; stale.hidden = !text; check(); } };
    planned.stale(now.stale);
    reason.focus();
  }

  function drawSaid() { said.textContent = model.get("said"); said.hidden = !said.textContent; }
  function drawDifference() {
    const now = model.get("diff");
    difference.replaceChildren(...(now.caption ? drawDiff(now) : []));
  }

  const drawn = { state: drawState, plan: drawPlan, diff: drawDifference, choices: drawChoices, said: drawSaid };
  for (const [trait, draw] of Object.entries(drawn)) { model.on(`change:${trait}`, draw); draw(); }
  const ticking = setInterval(drawAway, 1000);
  return () => {
    clearInterval(ticking);
    for (const [trait, draw] of Object.entries(drawn)) model.off(`change:${trait}`, draw);
  };
}

export default { render };
