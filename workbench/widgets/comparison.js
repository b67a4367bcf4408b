// Answers side by side: pages of examples, asked for by message; one example opened.

const FILTERS = [
  ["all", "all examples"], ["changed", "changed"], ["worse", "worse than the control"], ["better", "better than the control"],
  ["different", "other words"], ["unscored", "answered, unscored"], ["error", "with an error"],
];
const SORTS = [
  ["data", "the data's order"], ["asked", "as answers came"], ["lowest", "lowest score first"], ["worst", "largest loss first"], ["best", "largest gain first"], ["change", "largest change first"],
  ["slowest", "slowest first"], ["dearest", "dearest first"],
];
const SIZES = ["10", "20", "50", "100"];
const KEYS = [
  "Keys: j and k or up and down for the next and previous example, Enter opens it, Escape closes it, n and p for pages, / to search, d shows and hides what differs, m draws Markdown and JSON.",
  "On one answer: left and right (in the list) or 1 to 9 choose whose, g good, b bad, s star, c comment; the same key again takes the mark away.",
];
const HITS = ".wb-id, .wb-input, .wb-expected, .wb-answer, .wb-built, .wb-why"; // where what was searched for is shown
const QUERY = { only: "all", sort: "data", variant: "", field: "", value: "", search: "", marked: "", where: [] };
const plainly = (value) => JSON.stringify(value);

function render({ model, el }) {
  const me = Math.random().toString(36).slice(2);
  const asked = model.get("asked") || {};
  let query = { ...QUERY };
  for (const name of Object.keys(QUERY)) if (asked[name]) query[name] = asked[name];
  const kept = asked.look || {}; // what is drawn and how
  let look = { rendered: kept.rendered === true, spread: kept.spread === true, hidden: kept.hidden || [], without: kept.without || [] };
  let page = Number(asked.page) || 0;
  let size = Number(asked.size) || 20;
  let turn = 0;
  let shown = null; // the page that is drawn
  let active = 0; // row of it
  let opened = null; // the example that is drawn, null for the list
  let fields = {};
  let column = null; // the variant whose answer is marked by keys; null until one was chosen or the columns are known
  let editing = 0; // comments that are written: nothing is drawn under them
  let stale = false; // and so what is drawn is old
  let toRow = null; // where the keyboard goes on once a page has come: "first" or "last"

  const root = frame("wb-comparison", "Answers side by side", "group");
  const head = element("div", { class: "wb-verdict" });
  const live = element("div", { class: "wb-live", role: "status", "aria-live": "polite" });
  const bar = element("div", { class: "wb-bar", role: "toolbar", "aria-label": "filter and order" });
  const busy = element("p", { class: "wb-busy", role: "status" });
  const grid = element("table", { role: "grid", tabindex: "0", "aria-label": "examples" });
  const scroll = element("div", { class: "wb-scroll" }, grid);
  const pager = element("div", { class: "wb-pager", role: "group", "aria-label": "pages" });
  const charts = element("div");
  const under = element("div", { class: "wb-bar wb-under" }); // the bar
  const list = element("div", { class: "wb-list" }, bar, under, busy, charts, scroll, pager);
  const detail = element("section", { class: "wb-detail", tabindex: "-1", "aria-label": "one example" });
  const foot = element("details", { class: "wb-notes" }, element("summary", { text: "keys" }), element("div"));
  root.append(head, errorLine(model), list, detail, foot, live);
  el.append(root);

  const state = () => model.get("state");
  let waiting;
  // JupyterLab sends what comes before its thread for such messages is there to the kernel's queue, behind a cell that runs
  function ask(content) {
    turn += 1;
    const message = { ...content, query, look, view: me, turn };
    const send = (after) => {
      model.send(message);
      waiting = setTimeout(() => {
        if (after > 8000) busy.textContent = "The kernel does not answer. If it is gone, run the cell again.";
        send(Math.min(2 * after, 16000));
      }, after);
    };
    clearTimeout(waiting);
    send(500);
  }
  const marks = marking(model, me, {
    say: (text) => { live.textContent = text; },
    late: (text) => { busy.textContent = text; },
    edits: (goes) => { editing += goes ? 1 : -1; if (!editing && stale) redraw(); },
    chosen: (at, variant) => {
      if (!opened) active = Math.max(0, shown.rows.findIndex((row) => row.at === at));
      column = variant;
      point(false);
    },
    leave: () => (opened ? detail : grid).focus({ preventScroll: true }),
  });
  const askPage = () => { if (state().phase !== "plan" || shown) ask({ do: "page", page, size }); };
  const change = (what) => { query = { ...query, ...what }; page = 0; active = 0; askPage(); };

  // -- filter and order -----------------------------------------------------------------------------------------------
  const only = choice("which examples", FILTERS, query.only, (value) => change({ only: value }));
  const variant = choice("of which variant", [["", "any variant"]], "", (value) => change({ variant: value }));
  const field = choice("part of the data", [["", "all of the data"]], "", (value) => { drawFields(value, ""); change({ field: value, value: value ? valueOf.made.value : "" }); });
  const valueOf = choice("which part", [], "", (value) => change({ value }));
  const marked = choice("by marks", MARKED, query.marked, (value) => change({ marked: value }));
  const sort = choice("order", SORTS, query.sort, (value) => change({ sort: value }));
  const search = element("input", { type: "search", placeholder: "search texts  ( / )", "aria-label": "search texts" });
  search.value = query.search;
  let typing;
  search.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => change({ search: search.value.trim() }), 300); });
  const clear = button("clear filters", clearFilters);
  const where = conditions(state, (now) => change({ where: now }));
  bar.append(only.made, variant.made, marked.made, field.made, valueOf.made, sort.made, search, clear);
  const rendered = button("rendered", () => redrawn({ rendered: !look.rendered }), { title: "Markdown and JSON drawn, instead of the plain text (m)" });
  const columns = columnsChoice(state, () => look, (what) => redrawn(what));
  under.append(rendered, where.made, columns.made);
  const spread = spreadOf(look.spread, (open) => { if (open !== look.spread) redrawn({ spread: open }); });
  charts.append(spread.made);

  function clearFilters() {
    clearTimeout(typing);
    search.value = "";
    drawFields("", "");
    change({ ...QUERY, sort: query.sort });
    grid.focus({ preventScroll: true }); // the button goes
  }

  function drawFields(name, value) {
    field.fill([["", "all of the data"], ...Object.keys(fields).map((key) => [key, `by ${key}`])], name in fields ? name : "");
    const values = Object.entries(fields[name] || {});
    field.made.hidden = !Object.keys(fields).length;
    valueOf.made.hidden = !values.length;
    valueOf.fill(values.map(([key, count]) => [key, `${key} (${count})`]), value || (values[0] || [""])[0]);
  }

  function drawBar() {
    const counts = shown ? shown.counts : {};
    const told = ([key, label]) => [key, key in counts ? `${label} (${counts[key].toLocaleString("en")})` : label];
    const [, ...narrower] = FILTERS;
    const whole = query.search || query.field || query.variant || query.marked || query.where.length ? ["all", "any"] : FILTERS[0];
    only.fill([whole, ...narrower].map(told), query.only);
    clear.hidden = Object.keys(QUERY).every((name) => name === "sort" || plainly(query[name]) === plainly(QUERY[name]));
    where.draw(query.where);
    columns.draw();
    spread.title(state());
    rendered.setAttribute("aria-pressed", String(look.rendered));
    const others = state().variants.filter((_, at) => at !== state().control).map((v) => [v.label, v.label]);
    variant.fill([["", "any variant"], ...others], query.variant);
    variant.made.hidden = others.length < 2;
    const noted = shown ? shown.marked : {};
    marked.fill(MARKED.map(([key, label]) => [key, key in noted ? `${label} (${noted[key].toLocaleString("en")})` : label]), query.marked);
    sort.made.value = query.sort;
  }

  // -- head: verdict, plan, progress ------------------------------------------------------------------------------------
  function drawHead() {
    const { phase, verdict, plan, progress, notes, examples, again, outcome, cost } = state();
    const parts = [];
    if (verdict) parts.push(element("p", {}, element("strong", { text: verdict })));
    if (notes.length) parts.push(element("ul", { class: "wb-caveats", "aria-label": "notes" }, ...notes.map((text) => element("li", { text }))));
    if (cost) parts.push(element("p", { class: "wb-faint wb-cost", text: cost }));
    if (phase === "plan") {
      const rows = plan.map(([name, text]) => element("div", {}, element("dt", { text: name }), element("dd", { text })));
      parts.push(element("dl", { class: "wb-plan" }, ...rows), button("Start", () => model.send({ do: "start" }), { class: "wb-key wb-start" }));
    }
    if (outcome) parts.push(element("p", { class: "wb-outcome", role: "status", text: outcome }));
    if (again) parts.push(button(again, () => model.send({ do: "start" }), { class: "wb-key wb-start" }));
    if (progress) {
      const drawn = element("progress", { max: String(progress.total || 1), value: String(progress.done), "aria-label": "progress" });
      parts.push(element("div", { class: "wb-run" }, drawn, element("span", { class: "wb-count", text: progress.text }),
        button("Stop", () => model.send({ do: "stop" }), { class: "wb-key wb-stop" })));
    }
    head.replaceChildren(...parts);
    foot.lastChild.replaceChildren(...KEYS.map((text) => element("p", { text })));
    list.hidden = phase === "plan" || opened !== null;
    grid.setAttribute("aria-label", `${examples} examples, ${state().variants.length} variants`);
  }

  const isShown = (at) => !look.hidden.includes((state().variants[at] || {}).label);
  const visible = () => state().variants.map((_, at) => at).filter(isShown);
  const has = (name) => !look.without.includes(name);

  // -- the list -----------------------------------------------------------------------------------------------------------
  function drawHeadings() {
    const { variants, control, primary, examples } = state();
    const cells = variants.map((variant, at) => !isShown(at) ? null : element("th", { role: "columnheader", scope: "col" },
      element("div", {}, variant.label, at === control && element("span", { class: "wb-badge", text: "control" })),
      ...variant.facts.filter((fact) => fact !== "control").map((text, place) => element("div", { class: place ? "wb-faint" : "wb-mean", text: place ? text : `${primary} ${text}` })),
      ...(shown ? meansOf(shown.means, at, primary, shown.total < examples, look.without) : [])));
    return element("thead", { role: "rowgroup" }, element("tr", { role: "row", "aria-rowindex": "1" },
      element("th", { role: "columnheader", scope: "col", text: "example" }), ...cells.filter(Boolean)));
  }

  function drawList() {
    if (!shown) return;
    const { rows, total, pages } = shown;
    active = Math.max(0, Math.min(active, rows.length - 1));
    const body = rows.map((row, at) => {
      const made = element("tr", { role: "row", id: `${me}-${at}`, "aria-rowindex": String(shown.page * shown.size + at + 2), "data-at": String(row.at) });
      made.append(element("th", { role: "rowheader", scope: "row" }, element("div", { class: "wb-faint wb-id", title: row.id, dir: "auto", text: `${(row.at + 1).toLocaleString("en")} · ${shortId(row.id)}` }),
        element("div", { class: "wb-input", dir: "auto", text: row.input }),
        row.expected && element("div", { class: "wb-expected", dir: "auto" }, element("span", { class: "wb-faint", text: "expected " }), row.expected)),
      ...row.cells.map((cell, place) => isShown(place) && cellOf(cell, place, row, state().variants[place].label, { state, has, marks })).filter(Boolean));
      for (const cell of made.querySelectorAll(":scope > td")) {
        const place = Number(cell.dataset.place);
        cell.id = `${made.id}-${place}`;
        cell.addEventListener("click", () => { active = at; column = place; point(false); });
      }
      made.addEventListener("click", (event) => {
        if (event.target.closest("a") || String(window.getSelection())) return;
        active = at;
        open(row.at, 0);
      });
      return made;
    });
    if (!rows.length) body.push(element("tr", { role: "row" }, element("td", { role: "gridcell", class: "wb-none", colspan: String(1 + visible().length) }, "No example is like that. ", !clear.hidden && button("clear filters", clearFilters))));
    const drawn = element("tbody", { role: "rowgroup" }, ...body);
    for (const text of drawn.querySelectorAll(HITS)) markHits(text, query.search);
    grid.replaceChildren(drawHeadings(), drawn);
    grid.setAttribute("aria-rowcount", String(total + 1));
    grid.setAttribute("aria-colcount", String(1 + visible().length));
    point(false);
    const turnTo = (label, to, off) => { const made = button(label, () => go(to)); made.disabled = off; return made; };
    const sizes = choice("rows of a page", SIZES.map((count) => [count, `${count} rows`]), String(size), (value) => { size = Number(value); page = 0; askPage(); });
    const had = [...pager.children].indexOf(document.activeElement);
    pager.replaceChildren(turnTo("◂ previous", shown.page - 1, shown.page === 0),
      element("span", { class: "wb-count", text: `${total.toLocaleString("en")} of ${state().examples.toLocaleString("en")} examples, page ${shown.page + 1} of ${pages}` }),
      turnTo("next ▸", shown.page + 1, shown.page + 1 >= pages), sizes.made,
      ...["csv", "jsonl", "html"].map((kind) => button(`save as ${kind.toUpperCase()}`, () => {
        busy.textContent = "saving …";
        model.send({ do: "save", kind, query, view: me });
      }, { title: "these rows with all answers, scores and marks, as a file in the notebook's folder", ...(total ? {} : { disabled: "" }) })));
    if (had >= 0) { // else keys would be heard by nobody
      pager.children[had].focus({ preventScroll: true });
      if (document.activeElement !== pager.children[had]) grid.focus({ preventScroll: true });
    }
  }

  // Shows where the keyboard is: a row, and in it (or in an opened example) the answer of one variant.
  function point(see) {
    const count = state().variants.length;
    if (column === null && count) column = count > 1 && state().control === 0 ? 1 : 0;
    column = Math.max(0, Math.min(column, count - 1));
    if (count && !isShown(column)) column = visible().find((at) => at > column) ?? visible().at(-1) ?? column;
    for (const made of detail.querySelectorAll(".wb-variant")) made.classList.toggle("wb-here", made.dataset.place === String(column));
    for (const [at, row] of [...grid.querySelectorAll("tbody tr[id]")].entries()) {
      row.classList.toggle("wb-active", at === active);
      row.setAttribute("aria-selected", String(at === active));
      for (const cell of row.querySelectorAll(":scope > td")) cell.classList.toggle("wb-here", at === active && cell.dataset.place === String(column));
      if (at !== active) continue;
      grid.setAttribute("aria-activedescendant", `${row.id}-${column}`);
      if (see) row.scrollIntoView({ block: "nearest" });
    }
  }

  function go(to) { page = Math.max(0, to); active = 0; askPage(); grid.focus({ preventScroll: true }); }

  function move(step) {
    if (!shown) return;
    const next = active + step;
    if (next < 0 && shown.page > 0) { toRow = "last"; page = shown.page - 1; askPage(); }
    else if (next >= shown.rows.length && shown.page + 1 < shown.pages) { toRow = "first"; page = shown.page + 1; askPage(); }
    else { active = Math.max(0, Math.min(next, shown.rows.length - 1)); point(true); }
  }

  // -- one example ----------------------------------------------------------------------------------------------------------
  const open = (at, step) => ask({ do: "open", at, step });
  function drawDetail() {
    detail.hidden = opened === null;
    list.hidden = opened !== null || state().phase === "plan";
    if (opened === null) { detail.replaceChildren(); return; }
    const place = opened.place >= 0 ? `${(opened.place + 1).toLocaleString("en")} of ${opened.total.toLocaleString("en")}` : "no longer among those chosen";
    const bar = element("div", { class: "wb-bar" }, button("◂ previous (k)", () => open(opened.at, -1)), button("next (j) ▸", () => open(opened.at, 1)),
      element("strong", { text: `example ${(opened.at + 1).toLocaleString("en")} · ${opened.id}`, dir: "auto" }), element("span", { class: "wb-count", text: place }), button("close (Esc)", close));
    const columns = opened.variants.map((variant, at) => variantOf(variant, at, marks.drawn(opened.at, at, variant.label, variant.mark, true)));
    for (const [at, made] of columns.entries()) made.addEventListener("click", () => { column = at; point(false); });
    const seen = columns.filter((_, at) => isShown(at));
    detail.replaceChildren(bar, element("div", { class: "wb-about" }, ...aboutOf(opened)), element("div", { class: "wb-columns" }, ...seen));
    for (const kept of detail.querySelectorAll(".wb-text, .wb-scored")) markHits(kept, query.search);
    point(false);
  }

  function close() {
    const at = opened.at;
    opened = null;
    drawDetail();
    const here = shown ? shown.rows.findIndex((row) => row.at === at) : -1;
    if (here >= 0) active = here;
    point(true);
    grid.focus({ preventScroll: true });
    askPage();
  }

  function redrawn(what) {
    look = { ...look, ...what };
    drawBar();
    if (opened) open(opened.at, 0);
    else askPage();
  }

  function redraw() {
    stale = false;
    drawBar();
    drawList();
    drawDetail();
  }

  // The answer that the keyboard is at: places of its example and its variant; null if there is none yet.
  function here() {
    const row = opened || (shown && shown.rows[active]);
    const cell = row && (opened ? row.variants : row.cells)[column];
    const there = cell && (opened ? cell.repeats.some((repeat) => repeat.state !== "missing") : cell.state !== "missing");
    return there ? [row.at, column] : null;
  }

  // -- what comes from the kernel, and from the keyboard ----------------------------------------------------------------
  function heard(message) {
    if (message.view !== me) return;
    if (message.do === "saved") { busy.textContent = `${message.rows.toLocaleString("en")} rows are in ${message.file}, in the notebook's folder.`; return; }
    if (message.do === "marked") { marks.heard(message); return; }
    if (message.turn === turn && message.do !== "fields") clearTimeout(waiting);
    if (message.do === "fields") { fields = message.fields; drawFields(query.field, query.value); }
    if (message.do === "spread" && message.turn === turn) spread.draw(state(), message, look.hidden);
    if (message.do === "searching" && message.turn === turn) busy.textContent = `searching … ${Math.round(100 * message.share)}%`;
    if (message.do === "open" && message.turn === turn) {
      opened = message;
      if (shown && opened.place >= 0) page = Math.floor(opened.place / size);
      if (editing) stale = true;
      else {
        drawDetail();
        detail.focus({ preventScroll: true });
        detail.scrollIntoView({ block: "nearest" });
      }
      live.textContent = `example ${opened.id}, ${opened.place + 1} of ${opened.total}`;
    }
    if (message.do === "page" && message.turn === turn) {
      const first = shown === null;
      shown = message;
      page = message.page; // comes again once the words that differ are found
      busy.textContent = "";
      if (toRow) active = toRow === "first" ? 0 : message.rows.length - 1;
      toRow = null;
      if (editing) stale = true;
      else { drawBar(); drawList(); }
      live.textContent = `${message.total} examples, page ${message.page + 1} of ${message.pages}`;
      if (first) model.send({ do: "fields", view: me, turn });
    }
  }

  // 1 to 9 choose whose answer it is about, the keys of marks mark it.
  function onAnswer(key) {
    if (key === "m") { redrawn({ rendered: !look.rendered }); return true; }
    if (/^[1-9]$/.test(key)) {
      const place = visible()[Number(key) - 1]; // as counted on the page
      if (place === undefined) return false;
      column = place;
      point(true);
      live.textContent = state().variants[column].label;
      return true;
    }
    return here() !== null && marks.press(key, ...here());
  }

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typed = event.target.matches("input, select, textarea");
    if (typed && event.key !== "Escape") return;
    const onButton = event.target.matches("button, a, summary");
    const key = event.key;
    if (opened) {
      if (key === "Escape") close();
      else if (event.target.matches(".wb-text")) return; // arrows scroll a long text that has the focus
      else if (["j", "ArrowDown", "ArrowRight"].includes(key)) open(opened.at, 1);
      else if (["k", "ArrowUp", "ArrowLeft"].includes(key)) open(opened.at, -1);
      else if (key === "d") root.classList.toggle("wb-plain");
      else if (!onAnswer(key)) return;
    } else if (typed) { grid.focus({ preventScroll: true }); }
    else if (key === "j" || key === "ArrowDown") move(1);
    else if (key === "k" || key === "ArrowUp") move(-1);
    else if (key === "ArrowLeft" || key === "ArrowRight") {
      const there = visible();
      column = there[Math.max(0, Math.min(there.indexOf(column) + (key === "ArrowLeft" ? -1 : 1), there.length - 1))];
      point(true);
    }
    else if (key === "n" || key === "PageDown") { if (shown && shown.page + 1 < shown.pages) go(shown.page + 1); }
    else if (key === "p" || key === "PageUp") { if (shown && shown.page > 0) go(shown.page - 1); }
    else if (key === "/") search.focus();
    else if (key === "d") root.classList.toggle("wb-plain");
    else if (onAnswer(key)) { /* done */ }
    else if (key === "Enter" && !onButton && shown && shown.rows[active]) open(shown.rows[active].at, 0);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  let phase = state().phase;
  function changed() {
    if (phase === "plan" && state().phase === "running" && query.sort === "data") query.sort = "asked"; // what is there, first
    phase = state().phase;
    drawHead();
    drawBar();
    if (state().phase === "plan") return;
    if (opened === null) ask({ do: "page", page, size });
    else if (opened.variants.some((variant) => variant.repeats.some((repeat) => repeat.state === "missing"))) open(opened.at, 0);
  }

  drawFields(query.field, query.value);
  drawDetail();
  model.on("change:state", changed);
  model.on("msg:custom", heard);
  changed();
  return () => { model.off("change:state", changed); model.off("msg:custom", heard); clearTimeout(typing); clearTimeout(waiting); marks.end(); };
}

export default { render };
