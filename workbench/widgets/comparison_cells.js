// One answer in the list: score, difference, cost, text, reason, marks.

// state: gives the view's; has(name): whether that is shown; marks: what draws them.
function cellOf(cell, at, row, label, { state, has, marks }) {
  const control = at === state().control;
  const score = cell.state === "missing" ? "not asked yet" : cell.state === "error" ? "failed" : cell.score === null ? "unscored" : number(cell.score);
  const mark = cell.delta ? (cell.delta > 0 ? "wb-better" : "wb-worse") : "";
  const top = element("div", { class: "wb-score" });
  if (has(state().primary) || cell.state === "error") top.append(element("span", { class: cell.state === "error" ? "wb-failed" : "", text: score }));
  if (cell.delta && has("(delta)")) top.append(element("span", { class: `wb-delta ${mark}`, text: `${cell.delta > 0 ? "▲" : "▼"} ${signed(cell.delta)}`, "aria-label": `${signed(cell.delta)} ${cell.delta > 0 ? "better" : "worse"}` }));
  if (cell.repeats > 1) top.append(element("span", { class: "wb-faint", text: `mean of ${cell.repeats}` }));
  for (const [name, value] of Object.entries(cell.scores || {})) if (has(name)) top.append(element("span", { class: "wb-faint", text: `${name} ${number(value)}` }));
  if (cell.spent && has("(latency, cost)")) top.append(element("span", { class: "wb-faint wb-spent", text: cell.spent }));
  if (cell.state === "replayed" && state().phase === "running") top.append(element("span", { class: "wb-faint", text: "replayed" }));
  const said = (cell.pieces || []).some(([kind, text]) => kind !== "-" && text.trim());
  return element("td", { role: "gridcell", class: `wb-cell ${mark}`, "data-name": label + (control ? " (control)" : ""), "data-place": String(at) }, top,
    cell.tree ? element("div", { class: "wb-built", dir: "auto" }, ...builtOf(cell.tree))
      : element("div", { class: "wb-answer", dir: "auto" }, ...pieces(cell.pieces), cell.spent && !said && element("span", { class: "wb-faint", text: "(empty)" })),
    cell.why && has("(why)") && element("div", { class: "wb-why", dir: "auto", text: cell.why }),
    cell.state !== "missing" && has("(marks)") && marks.drawn(row.at, at, label, cell.mark, false));
}
