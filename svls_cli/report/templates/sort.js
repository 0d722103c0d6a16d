for (const button of document.querySelectorAll("#cases thead button")) button.onclick = () => {
  const head = button.closest("th"), body = document.querySelector("#cases tbody");
  const at = [...head.parentNode.children].indexOf(head);
  const up = head.getAttribute("aria-sort") !== "ascending";
  document.querySelectorAll("#cases [aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = (row) => row.cells[at]?.textContent.trim() ?? "–";
  const missing = (text) => text === "–" || text === "";
  body.append(...[...body.rows].sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    return (up ? 1 : -1) * (a - b || a.localeCompare(b, "en", { numeric: true }));
  }));
};
for (const th of document.querySelectorAll("#cases thead button")) th.disabled = false;
