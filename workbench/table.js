// Rows of a table.wb-sortable in the order of a column: its header becomes a button, for mouse and keyboard. data-sort of a cell
// is what it is sorted by; cells without one come last. Runs in a notebook's output and in a report's page, any number of times.
(function () {
  "use strict";
  function key(row, at) {
    var text = row.cells[at].getAttribute("data-sort");
    var number = text === null || text === "" ? NaN : Number(text);
    return text === null ? null : isNaN(number) ? text : number;
  }
  function order(a, b) {
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  }
  function sort(table, at) {
    var heads = table.tHead.rows[0].cells, body = table.tBodies[0];
    var down = heads[at].getAttribute("aria-sort") === "ascending";
    var rows = Array.from(body.rows).map(function (row) { return { row: row, key: key(row, at) }; });
    rows.sort(function (a, b) {
      if (a.key === null || b.key === null) { return (a.key === null) - (b.key === null); }
      return down ? order(b.key, a.key) : order(a.key, b.key);
    });
    rows.forEach(function (one) { body.appendChild(one.row); });
    Array.from(heads).forEach(function (head, place) {
      head.setAttribute("aria-sort", place !== at ? "none" : down ? "descending" : "ascending");
    });
  }
  document.querySelectorAll("table.wb-sortable:not([data-ready])").forEach(function (table) {
    table.setAttribute("data-ready", "");
    Array.from(table.tHead.rows[0].cells).forEach(function (head, at) {
      var button = document.createElement("button");
      button.type = "button";
      button.append.apply(button, Array.from(head.childNodes));
      button.addEventListener("click", function () { sort(table, at); });
      head.appendChild(button);
      head.setAttribute("aria-sort", "none");
    });
  });
})();
