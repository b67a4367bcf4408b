"use strict";
// Filters, searches and sorts the rows of the page that are there.
(() => {
  const bar = document.querySelector(".bar");
  const body = document.getElementById("examples");
  const saved = [...body.rows];
  const texts = saved.map((row) => row.textContent.toLowerCase());
  const only = document.getElementById("only");
  const sort = document.getElementById("sort");
  const search = document.getElementById("search");
  for (const option of only.options) {
    const count = saved.filter((row) => row.dataset.is.split(" ").includes(option.value)).length;
    option.textContent += ` (${count.toLocaleString("en")})`;
    option.disabled = !count && option.value !== "all";
  }
  function choose() {
    const wanted = search.value.trim().toLowerCase();
    let left = 0;
    for (const [at, row] of saved.entries()) {
      row.hidden = !row.dataset.is.split(" ").includes(only.value) || !texts[at].includes(wanted);
      left += row.hidden ? 0 : 1;
    }
    document.getElementById("count").textContent = `${left.toLocaleString("en")} of ${saved.length.toLocaleString("en")} examples`;
  }
  function order() {
    const by = sort.value;
    const side = by === "best" ? -1 : 1;
    body.append(...(by ? [...saved].sort((a, b) => side * (Number(a.dataset[by]) - Number(b.dataset[by]))) : saved));
  }
  only.addEventListener("change", choose);
  search.addEventListener("input", choose);
  if (sort) sort.addEventListener("change", order);
  bar.hidden = false;
  choose();
})();
