// The text of a prompt in a playground's form: one text, or a chat's messages, each with its role.

const KINDS = [["chat", "chat"], ["text", "one text"], ["completion", "raw completion"]];

// A field with its label; `extra` stands beside the label.
function field(label, control, extra) {
  const line = element("label", { class: "wb-field" });
  control.setAttribute("aria-label", label); // of a select the label would hold all its options too
  line.append(element("span", { class: "wb-label", text: label }), control);
  if (extra) line.append(extra);
  return line;
}

// Fills a select anew only if its choices changed: it keeps the focus.
function choose(select, choices, value) {
  const key = JSON.stringify(choices);
  if (select.dataset.key !== key) {
    select.replaceChildren(...choices.map(([name, text]) => element("option", { value: String(name), text })));
    select.dataset.key = key;
  }
  select.value = String(value);
}

function grow(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight + 2, 420)}px`;
}

// roles(): that there are. edited(at, text): one text was typed in. changed(kind, messages): more than a text is another now.
// say(text): is read aloud. The elements: `kindChoice` and `box`; `draw(kind, items)` shows what the kernel says.
function messageEditor({ roles, edited, changed, say }) {
  const kindChoice = element("select");
  const texts = element("div", { class: "wb-texts" });
  const nextRole = () => (turns.length && turns[turns.length - 1].role === "user" ? "assistant" : "user");
  const add = button("Add a message", () => insert(turns.length, { role: nextRole(), text: "" }));
  const takenOut = element("span", { class: "wb-dim", role: "status" });
  const putBack = button("Put it back", () => insert(removed.at, removed));
  let turns = [], kind = "text"; // of each message { role, area, choice, up, down, out, row }
  let removed = null; // the message that was taken out last

  // A message keeps its elements wherever it is moved to, and with them what the browser can undo.
  function newTurn({ role, text }) {
    const area = element("textarea", { rows: "1", spellcheck: "false", dir: "auto" });
    area.value = text;
    const turn = { role, area, choice: element("select", { class: "wb-role" }) };
    const here = () => turns.indexOf(turn);
    turn.up = button("↑", () => move(turn, -1, turn.up));
    turn.down = button("↓", () => move(turn, 1, turn.down));
    turn.out = button("×", () => takeOut(here()));
    turn.choice.addEventListener("change", () => { turn.role = turn.choice.value; tell(); });
    area.addEventListener("input", () => { grow(area); edited(here(), area.value); });
    area.addEventListener("keydown", (event) => {
      const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!by || !event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || kind !== "chat") return;
      event.preventDefault();
      event.stopPropagation();
      move(turn, by, area);
    });
    turn.row = element("div", { class: "wb-turn" }, element("div", { class: "wb-line" }, turn.choice, turn.up, turn.down, turn.out), area);
    return turn;
  }

  // Puts the messages on the page in their order, with labels that say which is which.
  function arrange() {
    const chat = kind === "chat", held = document.activeElement;
    if (turns.length !== texts.children.length || turns.some(({ row }, at) => texts.children[at] !== row)) {
      texts.replaceChildren(...turns.map(({ row }) => row));
      if (texts.contains(held)) held.focus();
    }
    const choices = roles().map((name) => [name, name]);
    turns.forEach(({ role, area, choice, up, down, out, row }, at) => {
      const name = `message ${at + 1}`, twin = turns.some((other) => other.area !== area && other.role === role);
      row.firstChild.hidden = !chat;
      if (chat) choose(choice, choices, role);
      area.setAttribute("aria-label", chat ? `${role}${twin ? `, ${name}` : ""}` : "text");
      area.setAttribute("aria-keyshortcuts", chat ? "Alt+ArrowUp Alt+ArrowDown" : "");
      area.placeholder = role === "placeholder" ? "name of the variable that takes messages" : "";
      for (const [control, label] of [[choice, `role of ${name}`], [up, `move ${name} up`], [down, `move ${name} down`], [out, `remove ${name}`]]) {
        control.setAttribute("aria-label", label);
        control.title = label;
      }
      up.disabled = !at;
      down.disabled = at === turns.length - 1;
      out.disabled = turns.length === 1;
      grow(area);
    });
    add.hidden = !chat;
    takenOut.hidden = putBack.hidden = !removed || !chat;
    choose(kindChoice, KINDS, kind);
    const one = turns.length === 1 && turns[0].role !== "placeholder";
    for (const option of kindChoice.options) option.disabled = option.value !== "chat" && !one;
    kindChoice.title = one ? "" : "Only a single message can be one text: remove the others first.";
  }

  function tell() {
    arrange();
    changed(kind, turns.map(({ role, area }) => ({ role, content: area.value })));
  }

  function insert(at, item) {
    const turn = newTurn(item);
    turns.splice(at, 0, turn);
    removed = null;
    tell();
    turn.area.focus();
  }

  function move(turn, by, held) {
    const at = turns.indexOf(turn), to = at + by;
    if (to < 0 || to >= turns.length) return;
    turns.splice(at, 1);
    turns.splice(to, 0, turn);
    tell();
    (held.disabled ? turn.area : held).focus();
    say(`Now message ${to + 1} of ${turns.length}.`);
  }

  function takeOut(at) {
    const [{ role, area }] = turns.splice(at, 1);
    removed = { at, role, text: area.value };
    takenOut.textContent = `Message ${at + 1} (${role}) is out.`;
    tell();
    putBack.focus();
  }

  kindChoice.addEventListener("change", () => {
    kind = kindChoice.value;
    if (kind !== "chat") turns[0].role = "";
    else if (!turns[0].role) turns[0].role = "user";
    removed = null;
    tell();
  });

  return {
    kindChoice,
    box: element("div", {}, texts, element("div", { class: "wb-line" }, add, takenOut, putBack)),
    draw(newKind, items) {
      kind = newKind;
      turns = items.map(newTurn);
      removed = null;
      arrange();
    },
    writeOn() { turns[turns.length - 1].area.focus(); },
  };
}
