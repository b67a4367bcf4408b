// Trees of `rendered.py` as elements: only of the kinds below, each made by itself, and every text as text.

const BUILT = {
  p: "p", h: "p", strong: "strong", em: "em", s: "s", code: "code", pre: "pre", ul: "ul", ol: "ol", li: "li", blockquote: "blockquote",
  table: "table", thead: "thead", tbody: "tbody", tr: "tr", th: "th", td: "td", hr: "hr", br: "br", a: "a",
};

function webAddress(text) {
  try {
    const found = new URL(text);
    return ["http:", "https:"].includes(found.protocol) ? found.href : null;
  } catch { return null; }
}

function builtOf(nodes, depth = 0) {
  return (nodes || []).map((node) => {
    if (typeof node === "string") return document.createTextNode(node);
    const [kind, below, more] = node;
    if (!Object.hasOwn(BUILT, kind) || depth > 60) return document.createTextNode("");
    const made = document.createElement(BUILT[kind]);
    if (kind === "h") made.className = "wb-h";
    if (kind === "ol" && Number.isInteger(more)) made.setAttribute("start", String(more));
    const address = kind === "a" ? webAddress(more) : null;
    if (address) for (const [name, value] of [["href", address], ["title", address], ["target", "_blank"], ["rel", "noopener noreferrer nofollow"], ["referrerpolicy", "no-referrer"]]) made.setAttribute(name, value);
    made.append(...builtOf(below, depth + 1));
    return made;
  });
}
