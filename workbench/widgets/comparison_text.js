// Numbers and texts of a comparison as nodes; all of it is text.

const number = (value) => (value === null || value === undefined ? "–" : String(Math.round(value * 1000) / 1000));
const signed = (value) => (value > 0 ? "+" : "") + number(value);

// Words with those marked that differ from the control's answer; all of it is text.
function pieces(found) {
  const tags = { "=": "span", "+": "ins", "-": "del" };
  return (found || []).map(([kind, text]) => element(tags[kind] || "span", { text }));
}

// Marks what was searched for, in any case of letters, in the text nodes below.
function markHits(below, text) {
  if (!text) return;
  const wanted = new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "giu");
  const walker = document.createTreeWalker(below, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  for (const node of nodes) {
    const parts = [];
    let end = 0;
    for (const hit of node.data.matchAll(wanted)) {
      parts.push(node.data.slice(end, hit.index), element("mark", { text: hit[0] }));
      end = hit.index + hit[0].length;
    }
    if (parts.length) node.replaceWith(...parts, node.data.slice(end));
  }
}

// An id that is a digest is told by its beginning.
const shortId = (id) => (/^[0-9a-f]{12,}$/.test(id) ? `${id.slice(0, 4)}…` : id);

function choice(name, options, chosen, action) {
  const made = element("select", { "aria-label": name, title: name });
  const fill = (from, value) => {
    made.replaceChildren(...from.map(([key, label]) => element("option", { value: key, text: label })));
    made.value = value;
  };
  made.addEventListener("change", () => action(made.value));
  fill(options, chosen);
  return { made, fill };
}
