"use strict";
// On a web server the badge's addresses are known; a file on a disk keeps the placeholder.
if (/^https?:$/.test(location.protocol)) {
  const here = new URL("..", location.href).href;
  for (const area of document.querySelectorAll("textarea")) {
    area.value = area.value.replaceAll("https://LEADERBOARD/", here);
  }
}
for (const button of document.querySelectorAll("button[data-copies]")) {
  const area = document.getElementById(button.dataset.copies);
  button.hidden = false;
  button.addEventListener("click", async () => {
    area.select();
    try {
      await navigator.clipboard.writeText(area.value);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected: press Ctrl+C";
    }
  });
}
