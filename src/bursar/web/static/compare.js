// Put a file that is chosen or dropped into the field. Nothing leaves the page before the form is sent.
"use strict";
const task = document.getElementById("task");
const told = document.getElementById("told");

async function take(file) {
  const text = await file.text();
  const most = task.maxLength;
  told.textContent = text.length > most ? `a file of at most ${most.toLocaleString("en")} characters was expected` : "";
  if (text.length <= most) task.value = text;
}

document.getElementById("file").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
});
