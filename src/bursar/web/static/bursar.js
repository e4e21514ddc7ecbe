// Bring the page up to date while somebody looks at it, as often as it says.
"use strict";
const content = document.getElementById("content");
const pulse = document.getElementById("pulse");
let last = content.innerHTML;

function callIds() {
  return new Set([...content.querySelectorAll("tr[data-id]")].map((row) => row.dataset.id));
}

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch(location.pathname + location.search, { headers: { "x-fragment": "1" }, cache: "no-store" });
    if (!response.ok) throw new Error(String(response.status));
    const text = await response.text();
    pulse.classList.remove("lost");
    pulse.textContent = "live";
    if (text === last) return;
    const known = callIds();
    const held = content.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const heldIn = held ? null : document.activeElement.closest("details")?.id;
    const open = [...content.querySelectorAll("details[open]")].map((details) => details.id);
    content.innerHTML = last = text;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    // Whoever goes through the page by keyboard stays where they are.
    if (held) content.querySelector(`a[href="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
    if (heldIn) document.getElementById(heldIn)?.querySelector("summary").focus({ preventScroll: true });
    if (known.size === 0) return;
    for (const row of content.querySelectorAll("tr[data-id]")) {
      if (!known.has(row.dataset.id)) row.classList.add("new");
    }
  } catch {
    pulse.classList.add("lost");
    pulse.textContent = "not connected";
  }
}

setInterval(refresh, Number(content.dataset.everyMs));
document.addEventListener("visibilitychange", refresh);
