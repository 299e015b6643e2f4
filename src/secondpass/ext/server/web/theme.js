// Light, dark, or as the system has it; kept in this browser.

const ways = ["system", "light", "dark"];

export function theme(button) {
  const use = (way) => {
    if (way === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = way;
    button.textContent = `Theme: ${way}`;
  };
  use(ways.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system");
  button.addEventListener("click", () => {
    const next = ways[(ways.indexOf(localStorage.getItem("theme") ?? "system") + 1) % ways.length];
    localStorage.setItem("theme", next);
    use(next);
  });
}
