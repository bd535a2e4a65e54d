// The leaderboard's pages are shown in a frame that is as high as they are.
(() => {
  const tags = new WeakMap();

  const fit = (frame) => {
    const inside = frame.contentDocument;
    if (!inside || !inside.body) return;
    inside.documentElement.classList.add("framed");
    const set = () => {
      const height = Math.ceil(inside.body.getBoundingClientRect().height);
      if (height > 0) frame.style.height = `${height + 24}px`;
    };
    // What is elsewhere opens beside the app, not in its frame.
    for (const link of inside.querySelectorAll('a[href^="http"]')) {
      link.target = "_blank";
      link.rel = "noopener noreferrer";
    }
    new frame.contentWindow.ResizeObserver(set).observe(inside.body);
    set();
    if (frame.getBoundingClientRect().top < 0) frame.scrollIntoView();
    tag(frame).then((found) => tags.set(frame, found));
  };

  const tag = async (frame) => {
    const { origin, pathname } = frame.contentWindow.location;
    const found = await fetch(origin + pathname, { method: "HEAD", cache: "no-cache" });
    return found.headers.get("etag");
  };

  // An entry that was just written is on the page when somebody turns to it; what was searched and
  // chosen is in the page's address, and stays.
  const renew = async () => {
    const frame = document.querySelector("iframe.cf-board");
    if (!frame || !frame.contentWindow || document.activeElement === frame) return;
    const found = await tag(frame);
    if (tags.has(frame) && found !== tags.get(frame)) frame.contentWindow.location.reload();
  };

  document.addEventListener("load", (event) => {
    const frame = event.target;
    if (frame instanceof HTMLIFrameElement && frame.classList.contains("cf-board")) fit(frame);
  }, true);
  document.addEventListener("click", (event) => {
    const tab = event.target instanceof Element && event.target.closest('[role="tab"]');
    if (!tab || tab.textContent.trim() !== "Leaderboard") return;
    renew().catch(() => {});
    setTimeout(() => renew().catch(() => {}), 4000);
  });
})();
