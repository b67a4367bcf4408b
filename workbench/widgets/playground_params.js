// The params of a playground's form: how to sample, and what the answer has to be.

const NUMBERS = [["temperature", "decimal"], ["top_p", "decimal"], ["max_tokens", "numeric"], ["seed", "numeric"]];
const CHOICES = [["think", ["on", "off", "low", "medium", "high"]], ["tool_choice", ["auto", "none", "required"]]];
const AREAS = [ // those that may take several lines: name, label, what to write
  ["stop", "stop (one a line)", "END"],
  ["schema", "JSON schema of the answer", '{"type": "object", "properties": {…}}'],
  ["tools", "tools (JSON)", '[{"type": "function", "function": {"name": "search", …}}]'],
  ["other", "other (JSON)", '{"logprobs": 3}'],
];

// names: a prefix of ids. defaults(): the prompt's own, as they would be typed. changed(values, fresh): something was typed.
function paramsForm({ names, defaults, changed }) {
  const line = (attributes) => element("input", { type: "text", class: "wb-short", spellcheck: "false", autocapitalize: "off", ...attributes });
  const short = [
    ...NUMBERS.map(([name, mode]) => [name, line({ inputmode: mode })]),
    ...CHOICES.map(([name]) => [name, line({ list: `${names}-${name}` })]),
  ];
  const long = AREAS.map(([name]) => [name, element("textarea", { rows: "1", spellcheck: "false" })]);
  const inputs = new Map([...short, ...long]);
  const fresh = element("input", { type: "checkbox" });
  const wrong = element("p", { class: "wb-error", role: "alert" });
  const own = button("Fill in the prompt's own", () => {
    for (const [name, input] of inputs) input.value = input.value || defaults()[name] || "";
    tell();
  });
  const summary = element("summary", { text: "Params" });
  const box = element("details", { class: "wb-box" }, summary,
    element("div", { class: "wb-line" }, ...short.map(([name, input]) => field(name, input)),
      element("label", { class: "wb-check" }, fresh, element("span", { text: "no answer from a cache" })), own),
    element("div", { class: "wb-areas" }, ...long.map(([name, area], at) => field(AREAS[at][1], area))), wrong,
    ...CHOICES.map(([name, choices]) => element("datalist", { id: `${names}-${name}` }, ...choices.map((value) => element("option", { value })))));

  function tell() {
    for (const [, area] of long) grow(area);
    changed(Object.fromEntries([...inputs].map(([name, input]) => [name, input.value])), fresh.checked);
  }
  for (const input of [...inputs.values(), fresh]) input.addEventListener("input", tell);

  return {
    box,
    fill(values, isFresh) {
      for (const [name, input] of inputs) input.value = values[name] || "";
      for (const [, area] of long) grow(area);
      fresh.checked = isFresh;
    },
    // problem: what the kernel says of what is typed.
    draw(problem) {
      const theirs = defaults();
      for (const [name, input] of short) input.placeholder = theirs[name] || "default";
      long.forEach(([name, area], at) => { area.placeholder = theirs[name] ? theirs[name].slice(0, 200) : AREAS[at][2]; });
      const set = [...short.filter(([, { value }]) => value.trim()).map(([name, { value }]) => `${name} ${value.trim()}`),
        ...long.filter(([, { value }]) => value.trim()).map(([name]) => name), ...(fresh.checked ? ["no cache"] : [])];
      summary.textContent = set.length ? `Params: ${set.join(", ")}` : "Params";
      own.hidden = !Object.keys(theirs).length;
      wrong.textContent = problem;
      wrong.hidden = !problem;
      if (problem) box.open = true;
    },
  };
}
