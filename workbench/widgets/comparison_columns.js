// Which variants have a column, and what stands in their cells.

const FACTS = [["(latency, cost)", "latency and cost"], ["(delta)", "difference to the control"], ["(why)", "the scorer's reason"], ["(marks)", "marks and comments"]];

// state, look: give the view's; change(look): it is drawn so now.
function columnsChoice(state, look, change) {
  const inside = element("div", { class: "wb-bar" });
  const made = element("details", { class: "wb-choose" }, element("summary", { text: "columns" }), inside);

  function box(label, on, flip, off = false) {
    const input = element("input", { type: "checkbox" });
    input.checked = on;
    input.disabled = off;
    input.addEventListener("change", flip);
    return element("label", {}, input, label);
  }

  function flip(kind, name) {
    const now = look()[kind];
    change({ [kind]: now.includes(name) ? now.filter((other) => other !== name) : [...now, name] });
  }

  function draw() {
    const { variants, metrics } = state();
    const { hidden, without } = look();
    const last = variants.filter(({ label }) => !hidden.includes(label)).length <= 1;
    const scores = metrics.filter(([key]) => key.startsWith("score_")).map(([, label]) => [label, label]);
    const had = inside.contains(document.activeElement) ? [...inside.querySelectorAll("input")].indexOf(document.activeElement) : -1;
    inside.replaceChildren(
      element("span", { class: "wb-faint", text: "variants" }),
      ...variants.map(({ label }) => box(label, !hidden.includes(label), () => flip("hidden", label), last && !hidden.includes(label))),
      element("span", { class: "wb-faint", text: "in cells" }),
      ...[...scores, ...FACTS].map(([name, label]) => box(label, !without.includes(name), () => flip("without", name))),
      element("span", { class: "wb-faint", text: "Filters and orders still look at every variant." }));
    if (had >= 0) inside.querySelectorAll("input")[had].focus();
    const count = hidden.length + without.length;
    made.firstChild.textContent = count ? `columns (${count} left out)` : "columns";
  }

  return { made, draw };
}
