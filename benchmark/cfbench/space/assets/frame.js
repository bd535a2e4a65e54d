// The leaderboard's pages are shown in a frame that is as high as they are.
(() => {
  const fit = (frame) => {
    const inside = frame.contentDocument;
    if (!inside || !inside.body) return;
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
  };
  document.addEventListener("load", (event) => {
    const frame = event.target;
    if (frame instanceof HTMLIFrameElement && frame.classList.contains("cf-board")) fit(frame);
  }, true);
})();
