/** Returns the element of this id. */
export function element(id: string): HTMLElement {
  return document.getElementById(id) as HTMLElement;
}

export function button(text: string, press: () => void): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.onclick = press;
  return button;
}

/** Gives an element the colour of a category. */
export function colour(element: HTMLElement, category: string): void {
  element.style.setProperty("--of", `var(--${category})`);
}
