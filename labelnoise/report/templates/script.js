for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent;
    const compare = (a, b) => (isNaN(a) || isNaN(b) ? String(a).localeCompare(b) : a - b);
    const rows = [...body.rows].sort((a, b) => compare(value(a), value(b)) * (up ? 1 : -1));
    body.append(...rows);
  });
}
const slider = document.getElementById("threshold");
if (slider) {
  const points = JSON.parse(slider.dataset.points);
  const share = (value) => (value === null ? "–" : (100 * value).toFixed(1) + " %");
  const show = () => {
    points[slider.value].forEach((value, i) => {
      const cell = document.getElementById("threshold-" + i);
      if (cell) cell.textContent = i ? share(value) : value.toFixed(2);
    });
  };
  slider.addEventListener("input", show);
  show();
}
