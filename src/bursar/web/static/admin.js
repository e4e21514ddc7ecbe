// Offer to copy a new secret; all else on these pages works without a script.
"use strict";
const copy = document.getElementById("copy");
if (copy && navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(document.getElementById("secret").textContent);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(document.getElementById("secret"));
      copy.textContent = "Press Ctrl+C";
    }
  });
}
