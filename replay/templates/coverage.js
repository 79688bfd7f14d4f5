"use strict";
/* Draws the map in the colours of the reader's theme, and again when it changes. */
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  function draw() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue("--" + name).trim();
    const few = data.x.length <= 200;
    const trace = {
      type: "heatmap", x: data.x, y: data.y, z: data.z, customdata: data.rows, zmin: 0, zmax: 100,
      xgap: few ? 1 : 0, ygap: 6, hoverongaps: false,
      colorscale: [[0, colour("loss")], [0.5, colour("loss")], [0.5, "#d9a520"], [0.9, "#d9a520"], [0.9, "#7fbf8f"],
        [0.999, "#7fbf8f"], [0.999, colour("profit")], [1, colour("profit")]],
      showscale: false,
      hovertemplate: "<b>%{y}</b><br>%{x|" + data.time + "}<br>%{customdata:,} rows, %{z} % full<extra></extra>",
    };
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: colour("sunk"), font: { color: colour("ink") },
      margin: { t: 8, r: 8, b: 44, l: 10 },
      xaxis: { type: "date", gridcolor: colour("line") },
      dragmode: "pan",
      yaxis: { fixedrange: true, autorange: "reversed", automargin: true, showgrid: false, type: "category" },
    };
    Plotly.react("chart", [trace], layout, { responsive: true, displayModeBar: false, scrollZoom: true });
  }
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
