// A playground: a prompt's form above, its answers side by side below.

const PAUSE = 150; // ms after the last key before an edit is sent
let made = 0; // views on this page, for ids

function render({ model, el }) {
  const names = `wb-play-${(made += 1)}`;
  const root = frame("wb-play", "playground: Ctrl+Enter runs, Escape stops");
  const state = () => model.get("state");
  const pending = new Map(); // edits that are not sent yet, by field
  let timer = 0, saved = ""; // the version that was shown last

  function flush() {
    clearTimeout(timer);
    for (const content of pending.values()) model.send(content);
    pending.clear();
  }
  function send(content) { flush(); model.send(content); }
  function later(key, content) {
    pending.set(key, content);
    clearTimeout(timer);
    timer = setTimeout(flush, PAUSE);
  }

  // -- the prompt ----------------------------------------------------------------------------------------------------
  const promptChoice = element("select"), versionChoice = element("select");
  const edited = element("span", { class: "wb-chip", text: "edited" });
  const messages = messageEditor({
    roles: () => state().roles,
    edited: (at, text) => later(`text ${at}`, { do: "edit", at, text }),
    changed(kind, all) {
      for (const key of [...pending.keys()]) if (key.startsWith("text ")) pending.delete(key); // all of them are told now
      send({ do: "messages", kind, messages: all });
    },
    say: (text) => { live.textContent = text; },
  });
  const hint = element("p", { class: "wb-dim", role: "status" });
  const changed = element("ul", { class: "wb-changed" });
  const discard = button("Discard changes", () => send({ do: "open", ref: state().ref }));
  const problem = element("p", { class: "wb-error", role: "alert" });
  const diff = element("pre", { class: "wb-diff", tabindex: "0", role: "region", "aria-label": "changed words" });
  const diffBox = element("details", { class: "wb-box", open: "" }, element("summary", { text: "Changes" }), changed, diff);
  const message = element("input", { type: "text", placeholder: "kept with the version", maxlength: "500" });
  const withParams = element("input", { type: "checkbox" });
  const paramsToo = element("label", { class: "wb-check" }, withParams, element("span", { text: "with these params" }));
  const save = button("Save as new version", () => send({ do: "save", message: message.value, params: withParams.checked }));
  const saveLine = element("div", { class: "wb-line" }, field("What you changed, and why", message), paramsToo, save, discard);
  promptChoice.addEventListener("change", () => { send({ do: "open", ref: promptChoice.value }); promptChoice.value = state().prompt; });
  versionChoice.addEventListener("change", () => {
    send({ do: "open", ref: `${state().prompt}@${versionChoice.value}` });
    versionChoice.value = String(state().version);
  });
  message.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) save.click(); });

  // -- values and params -----------------------------------------------------------------------------------------------
  const values = element("div", { class: "wb-values" });
  const areas = new Map(); // variable -> its field and area
  let typed = {}; // what the fields held when the kernel said so last
  const setChoice = element("select");
  const number = element("input", { type: "number", min: "1", step: "1", class: "wb-short" });
  const of = element("span", { class: "wb-dim" });
  const pick = (at) => send({ do: "pick", at });
  const step = (by) => send({ do: "step", by }); // from where the kernel is: two quick clicks are two steps
  const previous = button("‹", () => step(-1), { "aria-label": "previous example" });
  const next = button("›", () => step(1), { "aria-label": "next example" });
  const exampleField = field("Example", number);
  const right = element("p", { class: "wb-dim wb-expected", dir: "auto" });
  setChoice.addEventListener("change", () => send({ do: "dataset", name: setChoice.value }));
  const pickNumber = () => { if (number.value) pick(Math.round(Number(number.value)) - 1); };
  number.addEventListener("change", pickNumber);
  number.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) pickNumber(); });

  const params = paramsForm({
    names, defaults: () => state().defaults, changed: (given, fresh) => later("params", { do: "params", values: given, fresh }),
  });

  function drawValues() {
    const { variables, slots } = state();
    if (variables.join("\n") === [...areas.keys()].join("\n")) return;
    const before = new Map(areas);
    areas.clear();
    for (const name of variables) {
      const kept = before.get(name);
      if (kept) { areas.set(name, kept); continue; }
      const area = element("textarea", { rows: "1", spellcheck: "false", dir: "auto" });
      if (slots.includes(name)) area.placeholder = '[{"role": "user", "content": "…"}]';
      area.value = typed[name] || "";
      area.addEventListener("input", () => {
        grow(area);
        typed[name] = area.value;
        later(`input ${name}`, { do: "input", name, text: area.value });
      });
      areas.set(name, { line: field(`{{${name}}}`, area), area });
    }
    for (const [name, { line }] of before) if (!areas.has(name)) line.remove();
    for (const { line } of areas.values()) if (!line.parentNode) values.append(line);
    for (const { area } of areas.values()) grow(area);
  }

  // -- columns ---------------------------------------------------------------------------------------------------------
  const models = element("datalist", { id: `${names}-models` });
  const sets = element("datalist", { id: `${names}-sets` });
  const grid = element("div", { class: "wb-columns" });
  const live = element("div", { class: "wb-live", role: "status", "aria-live": "polite" });
  const columns = [];
  let goingOn = false; // whether the next form is to be written on
  let numbered = -1; // of the last message of answers

  function newColumn(at) {
    const input = element("input", { type: "text", list: models.id, spellcheck: "false", "aria-label": `model of column ${at + 1}` });
    const version = element("select", { "aria-label": `version of column ${at + 1}` });
    const own = element("input", { type: "text", class: "wb-own", spellcheck: "false", placeholder: 'its own params, such as {"temperature": 1}', "aria-label": `params of column ${at + 1}` });
    const remove = button("×", () => send({ do: "remove", at }), { "aria-label": `remove column ${at + 1}` });
    const change = () => send({ do: "column", at, model: input.value, version: version.value === "" ? null : Number(version.value), params: own.value });
    input.addEventListener("change", change);
    own.addEventListener("change", change);
    version.addEventListener("change", change);
    const title = element("h4"), text = element("div", { class: "wb-text", dir: "auto", tabindex: "0", role: "region", "aria-label": `answer ${at + 1}` });
    const thought = element("div", { class: "wb-text wb-dim", dir: "auto" });
    const thinking = element("details", {}, element("summary", { text: "Reasoning" }), thought);
    const tools = element("ul", { class: "wb-tools", "aria-label": "tool calls" });
    const failure = element("p", { class: "wb-error" }), remark = element("p", { class: "wb-dim" });
    const figures = element("dl", { class: "wb-figures" });
    const name = element("input", { type: "text", list: sets.id, placeholder: "name of the data set", spellcheck: "false" });
    const expected = element("textarea", { rows: "2", dir: "auto" });
    const form = element("div", { class: "wb-keep" }, field("Data set", name), field("What is right", expected), element("div", { class: "wb-line" },
      button("Keep", () => { send({ do: "keep", at, name: name.value, expected: expected.value === shown ? null : expected.value }); form.hidden = true; keep.focus(); }),
      button("Cancel", () => { form.hidden = true; keep.focus(); })));
    form.hidden = true;
    let shown = ""; // as cleaned for show: unless it is edited, the answer is kept as it came
    const keep = button("Keep as example …", () => {
      form.hidden = false;
      shown = expected.value = text.textContent || [...tools.children].map((item) => item.textContent).join("\n");
      name.value = name.value || (state().dataset ? `${state().dataset}-kept` : `${state().prompt}-kept`);
      grow(expected);
      name.focus();
    });
    const goOn = button("Go on from here", () => { goingOn = true; send({ do: "go_on", at }); },
      { title: "The answer becomes a message of the prompt, and the next one is yours." });
    const actions = element("div", { class: "wb-line" }, keep, goOn);
    actions.hidden = true;
    const box = element("section", { class: "wb-column", "aria-label": `column ${at + 1}` },
      element("div", { class: "wb-line wb-asked" }, input, version, remove, own), title, thinking, text, tools, failure, remark, figures, actions, form);
    return { box, change, input, version, own, remove, title, text, thought, thinking, tools, failure, remark, figures, keep, goOn, actions, form, state: "" };
  }

  function clear(column) {
    column.text.replaceChildren();
    column.thought.replaceChildren();
    about(column, { title: "", state: "", figures: [], remark: "", failure: "", tools: [] });
  }

  function about(column, { title, state: now, figures, remark, failure, tools }) {
    column.tools.replaceChildren(...tools.map((text) => element("li", { text, dir: "auto" })));
    column.tools.hidden = !tools.length;
    column.title.textContent = title;
    column.remark.textContent = now === "waiting" ? "waiting …" : remark;
    column.failure.textContent = failure;
    column.figures.replaceChildren(...figures.map(([name, value]) =>
      element("div", {}, element("dt", { text: name }), element("dd", { text: value }))));
    column.actions.hidden = now !== "done" && now !== "stopped";
    column.keep.hidden = now !== "done";
    column.goOn.hidden = !column.text.textContent.trim();
    if (now !== "done") column.form.hidden = true;
    column.box.dataset.state = now;
    column.box.setAttribute("aria-busy", String(now === "waiting" || now === "streaming"));
    column.state = now;
  }

  // Pieces are added as text beside what is there: a long answer is never set twice. Who has scrolled to its end stays there.
  function add(where, text) {
    if (!text) return;
    const atEnd = where.scrollTop > 0 && where.scrollHeight - where.scrollTop - where.clientHeight < 8;
    where.append(text);
    if (atEnd) where.scrollTop = where.scrollHeight;
  }

  function answers(content) {
    if (content.do === "more" && content.number !== numbered + 1) { if (numbered >= 0) model.send({ do: "whole" }); return; }
    numbered = content.number;
    if (content.do === "whole") columns.forEach(clear);
    const said = [];
    for (const item of content.columns) {
      while (columns.length <= item.at) columns.push(newColumn(columns.length));
      const column = columns[item.at], before = column.state;
      add(column.text, item.add);
      add(column.thought, item.think);
      column.thinking.hidden = !column.thought.textContent;
      if (!item.about) continue;
      about(column, item.about);
      const over = ["done", "failed", "stopped"].includes(column.state);
      if (content.do === "more" && over && before !== column.state) {
        const told = item.about.failure || item.about.figures.map((pair) => pair.join(" ")).join(", ");
        said.push(`Column ${item.at + 1}, ${item.about.title}: ${column.state}. ${told}.`);
      }
    }
    if (said.length) live.textContent = said.join(" ").slice(0, 600);
  }

  function drawColumns() {
    const now = state();
    const choices = [["", "as above"], ...now.versions];
    while (columns.length < now.columns.length) columns.push(newColumn(columns.length));
    columns.splice(now.columns.length);
    if (grid.children.length !== columns.length || columns.some(({ box }, at) => grid.children[at] !== box)) grid.replaceChildren(...columns.map(({ box }) => box));
    now.columns.forEach(({ model: name, version, params: own }, at) => {
      const column = columns[at];
      if (document.activeElement !== column.input) column.input.value = name;
      choose(column.version, choices, version === null ? "" : version);
      if (document.activeElement !== column.own) column.own.value = own;
      column.own.hidden = now.columns.length < 2 && !own;
      column.remove.hidden = now.columns.length < 2;
      column.remove.disabled = now.running;
      column.thinking.hidden = !column.thought.textContent;
    });
  }

  // -- run, stop, history ----------------------------------------------------------------------------------------------
  const start = () => {
    columns.forEach(({ input, own, change }, at) => { if (input.value !== state().columns[at].model || own.value !== state().columns[at].params) change(); }); // typed, and not left yet
    send({ do: "run" });
  };
  const run = button("Run", start, { class: "wb-key wb-run", "aria-keyshortcuts": "Control+Enter Meta+Enter" });
  const stop = button("Stop", () => send({ do: "stop" }), { "aria-keyshortcuts": "Escape" });
  run.append(element("kbd", { text: "Ctrl ⏎" }));
  stop.append(element("kbd", { text: "Esc" }));
  const more = button("Add a column", () => send({ do: "add" }));
  const rows = element("ul", { class: "wb-history" });
  const past = element("details", { class: "wb-box" }, element("summary", { text: "History" }), rows);
  const note = element("p", { class: "wb-note", role: "status" });
  const question = element("span"), yes = button("Yes", () => send({ ...state().ask.again }));
  const ask = element("div", { class: "wb-ask", role: "alertdialog", "aria-label": "question" }, question, yes, button("No", () => send({ do: "no" })));

  function drawHistory(history) {
    const key = history.map(({ id }) => id).join(" ");
    past.hidden = !history.length;
    if (rows.dataset.key === key) return;
    rows.dataset.key = key;
    past.firstChild.textContent = `History (${history.length})`;
    rows.replaceChildren(...history.map(({ id, when, title, models: on, values: given, answers: got }) => element("li", {},
      button("Bring back", () => send({ do: "back", id }), { "aria-label": `bring back the run of ${when}, ${title}` }),
      element("span", { class: "wb-dim", text: when }), element("strong", { text: title }), element("span", { text: on }),
      element("span", { class: "wb-dim", text: `${given}${got ? ` → ${got}` : ""}` }))));
  }

  function draw() {
    const now = state();
    choose(promptChoice, now.prompts.map((name) => [name, name]), now.prompt);
    choose(versionChoice, now.versions, now.version);
    edited.hidden = !now.edited;
    problem.textContent = now.problem;
    problem.hidden = !now.problem;
    diffBox.hidden = !now.diff.length && !now.changes.length;
    changed.replaceChildren(...now.changes.map((text) => element("li", { text })));
    changed.hidden = !now.changes.length;
    diff.hidden = !now.diff.length;
    hint.textContent = now.hint;
    hint.hidden = !now.hint;
    discard.hidden = !now.edited;
    diffBox.firstChild.textContent = `Changes against ${now.ref}`;
    diff.replaceChildren(...words(now.diff));
    saveLine.hidden = !now.edited && !now.typed;
    paramsToo.hidden = !now.typed;
    if (!now.typed) withParams.checked = false;
    save.disabled = Boolean(now.problem);
    if (saved !== now.ref) message.value = "";
    saved = now.ref;
    drawValues();
    choose(setChoice, [["", "none"], ...now.datasets.map((name) => [name, name])], now.dataset);
    for (const item of [exampleField, previous, next, of]) item.hidden = !now.examples;
    number.max = String(now.examples);
    if (document.activeElement !== number || now.example) number.value = now.example ? String(now.example.at + 1) : "";
    of.textContent = `of ${now.examples.toLocaleString("en")}`;
    const lacks = now.missing.length ? `This data set has no ${now.missing.join(", ")}. ` : "";
    right.textContent = lacks + (now.example && now.example.expected ? `${now.example.id}, expected: ${now.example.expected}` : "");
    right.hidden = !right.textContent;
    params.draw(now.params_problem);
    models.replaceChildren(...now.models.map((name) => element("option", { value: name })));
    sets.replaceChildren(...now.drafts.map((name) => element("option", { value: name })));
    drawColumns();
    run.disabled = now.running || Boolean(now.problem);
    stop.disabled = !now.running;
    more.disabled = now.running || now.columns.length >= 4;
    drawHistory(now.history);
    note.textContent = now.note;
    note.hidden = !now.note;
    ask.hidden = !now.ask.question;
    const asks = now.ask.question && question.textContent !== now.ask.question;
    question.textContent = now.ask.question || "";
    if (asks) yes.focus();
  }

  function heard(content) {
    if (content.do !== "form") { answers(content); return; }
    pending.clear();
    messages.draw(content.kind, content.texts);
    if (goingOn) messages.writeOn();
    goingOn = false;
    typed = { ...content.inputs };
    for (const [name, { area }] of areas) { area.value = typed[name] || ""; grow(area); }
    params.fill(content.params, content.fresh);
    params.draw(state().params_problem);
  }

  root.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey) { if (!run.disabled && !event.repeat) start(); }
    else if (event.key === "Escape" && state().running) send({ do: "stop" });
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  root.append(errorLine(model), ask,
    element("div", { class: "wb-line" }, field("Prompt", promptChoice), field("Version", versionChoice), field("Kind", messages.kindChoice), edited),
    element("div", { class: "wb-form" },
      element("div", { role: "group", "aria-label": "text of the prompt" }, messages.box, problem, hint, diffBox, saveLine),
      element("div", { role: "group", "aria-label": "values" }, values,
        element("div", { class: "wb-line" }, field("Examples of", setChoice), exampleField, of, previous, next), right)),
    params.box,
    element("div", { class: "wb-line wb-bar" }, run, stop, more), note, grid, past, models, sets, live);
  el.append(root);
  model.on("change:state", draw);
  model.on("msg:custom", heard);
  const sizes = new ResizeObserver(() => root.querySelectorAll("textarea").forEach(grow));
  sizes.observe(root);
  draw();
  model.send({ do: "form" });
  model.send({ do: "whole" });
  return () => {
    flush();
    sizes.disconnect();
    model.off("change:state", draw);
    model.off("msg:custom", heard);
  };
}

export default { render };
