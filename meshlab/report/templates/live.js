(() => {
  const EVERY = 5000; // milliseconds between two drawings
  const gone = document.getElementById("gone");
  const unfolded = (box) => box.closest("details").open;
  const focusable = (box) => [...box.querySelectorAll("summary, a, [tabindex]")];
  // A reader's place survives: what is unfolded, scrolled and focused.
  const replace = (box, html) => {
    const open = [...box.querySelectorAll("details")].map((each) => each.open);
    const left = [...box.querySelectorAll(".scroll, .chart")].map((each) => each.scrollLeft);
    const focused = focusable(box).indexOf(document.activeElement);
    box.innerHTML = html;
    box.querySelectorAll("details").forEach((each, index) => { if (open[index]) each.open = true; });
    box.querySelectorAll(".scroll, .chart").forEach((each, index) => { each.scrollLeft = left[index] || 0; });
    if (focused >= 0) focusable(box)[focused]?.focus({ preventScroll: true });
  };
  const draw = async (box) => {
    if (document.hidden || !unfolded(box)) return;
    try {
      const answer = await fetch(box.dataset.live, { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      replace(box, await answer.text());
      gone.hidden = true;
    } catch {
      gone.hidden = false;
    }
  };
  const keep = async (box) => {
    let wake = () => {};
    box.closest("details").addEventListener("toggle", () => wake());
    for (;;) {
      await draw(box);
      await new Promise((done) => { wake = done; setTimeout(done, EVERY); });
    }
  };
  document.querySelectorAll("[data-live]").forEach(keep);
})();
