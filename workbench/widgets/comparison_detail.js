// One example in full: what was asked, and what each variant answered.

const part = (name, ...content) => element("section", { class: "wb-part" }, element("h4", { text: name }), ...content);
const textOf = (text) => element("div", { class: "wb-text", dir: "auto", text: text || "(empty)" });

function repeatOf(repeat, at, count) {
  const title = count > 1 ? element("h5", { text: `repeat ${at + 1}` }) : null;
  if (repeat.state === "missing") return element("div", {}, title, element("p", { class: "wb-faint", text: "not asked yet" }));
  const ids = element("div", { class: "wb-faint wb-ids" });
  if (repeat.trace_url && /^https?:/.test(repeat.trace_url)) ids.append(element("a", { href: repeat.trace_url, target: "_blank", rel: "noopener noreferrer", text: "trace" }), " ");
  ids.append(element("code", { text: `call ${repeat.call_id}` }));
  if (repeat.state === "error") return element("div", {}, title, element("p", { class: "wb-failed", text: repeat.text }), ids);
  const answer = repeat.tree ? element("div", { class: "wb-text wb-built", dir: "auto" }, ...builtOf(repeat.tree)) : repeat.pieces ? element("div", { class: "wb-text", dir: "auto" }, ...pieces(repeat.pieces)) : textOf(repeat.text);
  const scores = repeat.scores.map(([name, value, why]) => element("div", { class: "wb-scored" },
    element("strong", { text: `${name} ${value === null ? "unscored" : number(value)}` }), why && element("span", { class: "wb-why", dir: "auto", text: ` ${why}` })));
  const facts = element("dl", { class: "wb-facts" }, ...repeat.facts.map(([name, text]) => element("div", {}, element("dt", { text: name }), element("dd", { text }))));
  return element("div", {}, title, answer, ...scores, facts, ids);
}

function aboutOf(opened) {
  const about = opened.inputs.map(([name, text]) => part(name, textOf(text)));
  if (opened.context) about.push(part("context", textOf(opened.context)));
  if (opened.expected !== null) about.push(part("expected", textOf(opened.expected)));
  if (opened.metadata.length) about.push(part("metadata", textOf(opened.metadata.map(([name, text]) => `${name}: ${text}`).join("\n"))));
  return about;
}

function variantOf(variant, place, marks) {
  const delta = variant.delta ? element("span", { class: `wb-delta ${variant.delta > 0 ? "wb-better" : "wb-worse"}`, text: ` ${signed(variant.delta)}` }) : null;
  const prompt = element("details", { class: "wb-prompt" }, element("summary", { text: "prompt as sent" }), ...variant.prompt.map(([role, text]) => part(role, textOf(text))));
  return element("section", { class: "wb-variant", "aria-label": variant.label, "data-place": String(place) },
    element("h4", {}, variant.label, variant.control && element("span", { class: "wb-badge", text: "control" }), delta), marks,
    ...variant.repeats.map((repeat, at) => repeatOf(repeat, at, variant.repeats.length)), prompt);
}
