// Conditions on scores, latency, cost and tokens: what holds is told as a row of buttons that take it away, a form adds one.

const SIDES = ["above", "below", "at least", "at most"];

// state: gives the view's; change(where): the conditions are these now.
function conditions(state, change) {
  const made = element("div", { class: "wb-bar wb-where", role: "group", "aria-label": "conditions" });
  const metric = choice("of what", [], "", () => {});
  const side = choice("above or below", SIDES.map((name) => [name, name]), "below", () => {});
  const value = element("input", { type: "number", step: "any", required: "", "aria-label": "value", placeholder: "value" });
  const variant = choice("whose answer", [], "", () => {});
  const form = element("form", { class: "wb-bar", "aria-label": "new condition" }, metric.made, side.made, value, variant.made,
    element("button", { type: "submit", class: "wb-key", text: "add" }), button("cancel", () => { form.hidden = true; opener.hidden = false; opener.focus(); }));
  const opener = button("+ condition", () => {
    form.hidden = false;
    opener.hidden = true;
    const { metrics, variants } = state();
    metric.fill(metrics, metric.made.value || metrics[0][0]);
    variant.fill([["", "of any variant"], ...variants.map(({ label }) => [label, `of ${label}`])], variant.made.value);
    metric.made.focus();
  }, { title: "only examples with a score, latency, cost or tokens above or below a value" });
  form.hidden = true;
  let where = [];

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.hidden = true;
    opener.hidden = false;
    opener.focus();
    change([...where, { metric: metric.made.value, side: side.made.value, value: Number(value.value), variant: variant.made.value }]);
  });

  function draw(now) {
    where = now;
    const names = Object.fromEntries(state().metrics || []);
    const told = where.map((one, at) => {
      const text = `${names[one.metric] || one.metric} ${one.side} ${one.value}${one.variant ? ` · ${one.variant}` : ""}`;
      return button(`${text} ×`, () => { opener.focus(); change(where.filter((_, other) => other !== at)); }, { "aria-label": `take away: ${text}`, class: "wb-key wb-one" });
    });
    made.replaceChildren(...told, opener, form);
  }

  return { made, draw };
}

// What the head of a column says of its scores over all examples, and over those that were chosen if these are fewer.
function meansOf(means, place, primary, narrowed, without) {
  const seen = (found) => found.scores.filter(([name]) => !without.includes(name));
  const all = seen(means.all[place]).map(([name, text]) => element("div", { class: "wb-faint", text: name === primary ? text.replace(/^[^,]*, /, "") : `${name} ${text}` }));
  if (!narrowed) return all;
  const { facts } = means.chosen[place];
  const lines = seen(means.chosen[place]).map(([name, text]) => element("div", { class: name === primary ? "wb-mean" : "wb-faint", text: `${name} ${text}` }));
  return [...all, element("div", { class: "wb-chosen" }, element("div", { class: "wb-faint", text: "these rows" }), ...lines, element("div", { class: "wb-faint", text: facts }))];
}
