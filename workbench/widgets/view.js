// What all views share. Texts are set as text: nothing that a model or a person wrote is ever read as HTML.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter(Boolean));
  return made;
}

// The frame of a view. JupyterLab's own shortcuts (a, b, d d, x …) must not see what is pressed in here. Its attribute for that
// holds only while the frame itself has the focus, so keys end here too; those with Ctrl or Alt, and Shift+Enter, are JupyterLab's.
// The attribute keeps Ctrl+S from it as well, and the browser would ask where to save the page: that one is told to it by hand.
function frame(kind, label, role = "group") {
  const made = element("div", {
    class: `wb-view ${kind}`, tabindex: "0", role, "aria-label": label, "data-lm-suppress-shortcuts": "true",
  });
  made.addEventListener("keydown", (event) => {
    const runsTheCell = event.shiftKey && event.key === "Enter" && !event.target.matches("input, textarea, select");
    if (!(event.ctrlKey || event.metaKey || event.altKey || runsTheCell)) event.stopPropagation();
    if (event.key === "s" && (event.ctrlKey || event.metaKey) && !event.altKey && made.closest(".jp-Notebook")) {
      event.preventDefault();
      event.stopPropagation();
      made.closest(".jp-Notebook").dispatchEvent(new KeyboardEvent("keydown", event));
    }
  });
  return made;
}

function button(label, action, attributes = {}) {
  const made = element("button", { type: "button", class: "wb-key", text: label, ...attributes });
  made.addEventListener("click", action);
  return made;
}

// A line that shows the kernel's `error`, read aloud as it changes; and, once a message reaches no kernel any more, that.
function errorLine(model) {
  const made = element("p", { class: "wb-error", role: "alert" });
  let gone = "";
  const draw = () => { made.textContent = gone || model.get("error"); made.hidden = !made.textContent; };
  const send = model.send;
  model.send = (...content) => {
    try { send(...content); gone = ""; } catch { gone = "The kernel that made this view has ended: run its cell again."; }
    draw();
  };
  model.on("change:error", draw);
  draw();
  return made;
}

// A text's words that differ, as nodes. pieces: [["=" in both, "-" only before, "+" only after, or "…" left out, text], …].
function words(pieces) {
  const tags = { "-": "del", "+": "ins" };
  return pieces.map(([kind, text]) => kind === "=" ? document.createTextNode(text)
    : element(tags[kind] || "span", { text: kind === "…" ? `⋯ ${text}\n` : text, class: kind === "…" ? "wb-dim" : "" }));
}
