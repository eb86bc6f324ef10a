// Tables that sort by a click on a heading, and show the rows that hold what is typed above them.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  const value = (row, column) => row.cells[column].textContent.trim();
  // "< 0.001" comes before 0.001
  const read = (text) => text.startsWith("<") ? parseFloat(text.slice(1)) * 0.999 : parseFloat(text);
  const compare = (one, two) => {
    const [a, b] = [read(one), read(two)];
    const numbers = !Number.isNaN(a) - !Number.isNaN(b);
    if (numbers !== 0) return -numbers;             // what is no number comes last
    return Number.isNaN(a) ? one.localeCompare(two) : a - b;
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const ordered = [...rows].sort((one, two) => {
        const order = compare(value(one, column), value(two, column));
        const numbers = [one, two].map((row) => !Number.isNaN(read(value(row, column))));
        return down && numbers[0] === numbers[1] ? -order : order;
      });
      body.append(...ordered);
    });
  });
  const filter = document.createElement("input");
  filter.type = "search";
  filter.placeholder = `find in ${rows.length} rows`;
  filter.setAttribute("aria-label", "find rows");
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  table.parentElement.before(filter);
}
