// How the primary score and its differences to the control are spread over the rows that were chosen: bars, and the same in words.

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 200;
const HIGH = 48;

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

// most: the count that fills the height, one for all charts of a kind, so that they compare. signed: below 0 is worse.
function bars({ counts, text }, { low, high }, most, signed, label) {
  const step = WIDE / counts.length;
  const drawn = counts.map((count, at) => {
    const height = count ? Math.max(1.5, (count / most) * HIGH) : 0;
    const kind = !signed ? "wb-plainbar" : at < counts.length / 2 ? "wb-losses" : "wb-gains";
    return svg("rect", { x: at * step + 0.5, y: HIGH - height, width: step - 1, height, class: kind });
  });
  const axis = [svg("line", { x1: 0, y1: HIGH, x2: WIDE, y2: HIGH, class: "wb-axis" })];
  if (signed) axis.push(svg("line", { x1: WIDE / 2, y1: 0, x2: WIDE / 2, y2: HIGH, class: "wb-axis" }));
  const chart = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH + 1}`, role: "img", "aria-label": `${label}: ${text}`, preserveAspectRatio: "none" }, ...drawn, ...axis);
  const ends = element("div", { class: "wb-ends", "aria-hidden": "true" }, element("span", { text: number(low) }), signed && element("span", { text: "0" }), element("span", { text: number(high) }));
  return element("div", { class: "wb-chart" }, chart, ends, element("p", { class: "wb-faint", text }));
}

// open: whether it was; change(whether): it is now.
function spreadOf(open, change) {
  const title = element("summary");
  const inside = element("div", { class: "wb-columns" });
  const made = element("details", { class: "wb-spread" }, title, inside);
  made.open = open;
  made.addEventListener("toggle", () => change(made.open));

  const titled = ({ primary }) => { title.textContent = `distribution of ${primary} and of its differences`; };

  // told: what `spread` of the kernel says of the rows that were chosen
  function draw({ primary, variants, control }, { scores, differences }, hidden) {
    const highest = (found) => Math.max(1, ...found.filter(Boolean).flatMap(({ counts }) => counts));
    const [tallest, largest] = [highest(scores.variants), highest(differences.variants)];
    const parts = variants.map(({ label }, at) => hidden.includes(label) ? null : element("section", { class: "wb-variant", "aria-label": label },
      element("h4", { text: label }),
      element("p", { class: "wb-faint", text: primary }), bars(scores.variants[at], scores, tallest, false, `${primary} of ${label}`),
      at !== control && element("p", { class: "wb-faint", text: `difference to ${variants[control].label}, equal ones left out` }),
      at !== control && bars(differences.variants[at], differences, largest, true, `difference of ${label} to ${variants[control].label}`)));
    inside.replaceChildren(...parts.filter(Boolean));
  }

  return { made, draw, title: titled };
}
