(function () {
  "use strict";
  var plots = [];
  var PAPER_WIDTH = 660;

  function ink() {
    return getComputedStyle(document.documentElement).getPropertyValue("--ink").trim() || "#222";
  }
  function transparent(layout) {
    return /^rgba\(.*,\s*0\)$|^transparent$/.test(layout.paper_bgcolor || "");
  }
  function draw(div) {
    var spec = JSON.parse(document.getElementById(div.id + "-data").textContent);
    var layout = spec.layout || {};
    if (transparent(layout)) {
      layout.font = Object.assign({}, layout.font, { color: ink() });
    }
    if (!layout.width) { layout.autosize = true; }
    var config = Object.assign({}, spec.config, { responsive: true, displayModeBar: false });
    delete config.plotlyServerURL;
    plots.push({ div: div, plain: transparent(layout), width: layout.width });
    Plotly.newPlot(div, { data: spec.data || [], layout: layout, frames: spec.frames || [], config: config });
  }
  function recolour() {
    plots.forEach(function (plot) {
      if (plot.plain) { Plotly.relayout(plot.div, { "font.color": ink() }); }
    });
  }

  document.querySelectorAll(".wb-plot").forEach(function (div) {
    try {
      draw(div);
    } catch (error) {
      div.textContent = "This figure could not be drawn: " + error;
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);

  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details.wb-parameters").forEach(function (part) { part.open = true; });
    plots.forEach(function (plot) {
      var change = { width: Math.min(PAPER_WIDTH, plot.width || PAPER_WIDTH) };
      if (plot.plain) { change["font.color"] = "#000"; }
      Plotly.relayout(plot.div, change);
    });
  });
  window.addEventListener("afterprint", function () {
    plots.forEach(function (plot) {
      Plotly.relayout(plot.div, plot.width ? { width: plot.width } : { width: null, autosize: true });
    });
    recolour();
  });
})();
