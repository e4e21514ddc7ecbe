// Bring the overview up to date every two seconds while somebody looks at it.
"use strict";
const EVERY_MS = 2000;
const overview = document.getElementById("overview");
const pulse = document.getElementById("pulse");
let last = overview.innerHTML;

function callIds() {
  return new Set([...overview.querySelectorAll("tr[data-id]")].map((row) => row.dataset.id));
}

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch("/", { headers: { "x-fragment": "1" }, cache: "no-store" });
    if (!response.ok) throw new Error(String(response.status));
    const text = await response.text();
    pulse.classList.remove("lost");
    pulse.textContent = "live";
    if (text === last) return;
    const known = callIds();
    const held = overview.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    overview.innerHTML = last = text;
    // Whoever goes through the page by keyboard stays where they are.
    if (held) overview.querySelector(`a[href="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
    if (known.size === 0) return;
    for (const row of overview.querySelectorAll("tr[data-id]")) {
      if (!known.has(row.dataset.id)) row.classList.add("new");
    }
  } catch {
    pulse.classList.add("lost");
    pulse.textContent = "not connected";
  }
}

setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
