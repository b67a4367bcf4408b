// What is noted by hand on an answer: good or bad, a star, a comment. The kernel keeps one after the other; what it has not kept
// yet is shown so, and is sent again until it has.

const MARKED = [
  ["", "marked or not"], ["marked", "marked"], ["unmarked", "not marked"], ["good", "good"], ["bad", "bad"],
  ["star", "with a star"], ["comment", "with a comment"],
];
// name, sign, key, whether it is so, what a press changes
const SIGNS = [
  ["good", "✓", "g", (mark) => mark.mark === "good", (mark) => ({ mark: mark.mark === "good" ? "" : "good" })],
  ["bad", "✗", "b", (mark) => mark.mark === "bad", (mark) => ({ mark: mark.mark === "bad" ? "" : "bad" })],
  ["star", "★", "s", (mark) => mark.star, (mark) => ({ star: !mark.star })],
];
const UNMARKED = { mark: "", star: false, comment: "", when: 0 };

// say, late: show a text; edits(whether): a comment is being written; leave: puts the focus back.
// chosen(at, variant): that answer was clicked on.
function marking(model, me, { say, late, edits, leave, chosen }) {
  const waiting = []; // the first is at the kernel
  const kept = new Map(); // what the kernel kept since, by answer
  let count = 0;
  let timer;

  const keyOf = (at, variant) => `${at}/${variant}`;
  const of = (at, variant, told) => {
    const newest = kept.get(keyOf(at, variant));
    const known = newest && (!told || newest.when >= told.when) ? newest : told || UNMARKED;
    return waiting.filter((item) => item.at === at && item.variant === variant).reduce((mark, item) => ({ ...mark, ...item.change }), known);
  };

  function send(after) {
    clearTimeout(timer);
    if (!waiting.length) return;
    model.send({ ...waiting[0], do: "mark", view: me });
    timer = setTimeout(() => {
      if (after > 8000) late(`${waiting.length} mark${waiting.length > 1 ? "s are" : " is"} not kept yet: the kernel does not answer.`);
      send(Math.min(2 * after, 16000));
    }, after);
  }

  function change(place, what) {
    count += 1;
    waiting.push({ at: place.at, variant: place.variant, change: what, count });
    if (waiting.length === 1) send(500);
    draw(place);
  }

  function heard(message) {
    if (!waiting.length || message.count !== waiting[0].count) return;
    const { at, variant, change: what } = waiting.shift();
    const changed = Object.keys(what)[0];
    if (message.mark) kept.set(keyOf(at, variant), message.mark);
    say(message.mark ? `${changed === "comment" ? "comment" : changed === "star" ? "star" : "mark"} saved` : "not saved");
    if (!waiting.length) late("");
    send(500);
    for (const place of places) {
      if (place.at === at && place.variant === variant) draw(place);
    }
  }

  // -- what is drawn: one place for each answer on the page ---------------------------------------------------------------
  let places = [];
  // reached: by the tab key too; the grid is one stop of it, and has keys of its own
  function drawn(at, variant, label, told, reached) {
    const place = { at, variant, label, told, reached, made: element("div", { class: "wb-marks", role: "group", "aria-label": `marks of ${label}` }), field: null };
    if (!places.length || places[0].made.isConnected === false) queueMicrotask(() => { places = places.filter((other) => other.made.isConnected); });
    place.made.addEventListener("click", (event) => { event.stopPropagation(); chosen(at, variant); }); // it opens no example
    places.push(place);
    draw(place);
    return place.made;
  }

  function draw(place) {
    if (place.field) return;
    const mark = of(place.at, place.variant, place.told);
    const open = waiting.some((item) => item.at === place.at && item.variant === place.variant);
    const had = place.made.contains(document.activeElement) ? document.activeElement.dataset.key : "";
    const inList = { tabindex: place.reached ? "0" : "-1" };
    const buttons = SIGNS.map(([name, sign, key, is, what]) => button(sign, () => change(place, what(of(place.at, place.variant, place.told))), {
      class: `wb-key wb-sign wb-${name}`, "aria-pressed": String(Boolean(is(mark))), "aria-label": name, title: `${name} (${key})`, "data-key": key, ...inList,
    }));
    buttons.push(button("✎", () => write(place), {
      class: "wb-key wb-sign wb-note", "aria-pressed": String(Boolean(mark.comment)), "aria-label": "comment", title: "comment (c)", "data-key": "c", ...inList,
    }));
    place.made.classList.toggle("wb-marked", Boolean(mark.mark || mark.star || mark.comment));
    place.made.classList.toggle("wb-unkept", open);
    place.made.replaceChildren(...buttons, ...(mark.comment ? [element("div", { class: "wb-comment", dir: "auto", text: mark.comment })] : []));
    const again = had && place.made.querySelector(`[data-key="${had}"]`);
    if (again) again.focus({ preventScroll: true });
  }

  function write(place) {
    if (place.field) return;
    const before = of(place.at, place.variant, place.told).comment;
    const field = element("textarea", { class: "wb-writes", rows: "2", maxlength: "20000", dir: "auto", "aria-label": `comment on the answer of ${place.label}`,
      placeholder: "Enter keeps it, Escape leaves it" });
    field.value = before;
    place.field = field;
    edits(true);
    place.made.append(field);
    field.focus();
    let over = false;
    const finish = (keeps, back) => {
      if (over) return;
      over = true;
      place.field = null;
      const text = field.value.trim();
      if (keeps && text !== before) change(place, { comment: text });
      else draw(place);
      if (back) leave();
      setTimeout(() => edits(false), 200); // what was clicked on, to leave the field, must be there for the click
    };
    field.addEventListener("blur", () => finish(true, false));
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.isComposing || (event.key !== "Escape" && (event.key !== "Enter" || event.shiftKey))) return;
      event.preventDefault();
      finish(event.key === "Enter", true);
    });
  }

  // Whether a key is that of a mark; it is made then.
  function press(key, at, variant) {
    const place = places.findLast((other) => other.at === at && other.variant === variant && other.made.isConnected);
    const found = SIGNS.find((sign) => sign[2] === key);
    if (!place || (!found && key !== "c")) return false;
    if (found) change(place, found[4](of(at, variant, place.told)));
    else write(place);
    return true;
  }

  return { drawn, heard, press, end: () => clearTimeout(timer) };
}
