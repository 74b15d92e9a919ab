// What a designer would see at once: gives a list of sentences, empty for a page that is laid out well.
({ least, touch }) => {
  const MOST_OVERLAP = 0.3; // of the lower text's height: the boxes of neighbouring lines touch
  const NARROWEST = 128; // pixels: a column that is narrower than this is no reason to break a word
  const found = [];
  const told = (text) => JSON.stringify(text.trim().replace(/\s+/g, " ").slice(0, 60));
  const most = document.documentElement.clientWidth;
  const style = (element) => getComputedStyle(element);

  if (document.scrollingElement.scrollWidth > most) {
    found.push(`the page is ${document.scrollingElement.scrollWidth} wide, of ${most}`);
  }

  /** What can be seen of a rectangle: not what its ancestors cut off, nor what is only for screen readers. */
  function seen(rect, element) {
    let { left, top, right, bottom } = rect;
    for (let one = element; one && one !== document.body; one = one.parentElement) {
      if (style(one).overflow === "visible" && style(one).overflowX === "visible") continue;
      const outer = one.getBoundingClientRect();
      [left, top] = [Math.max(left, outer.left), Math.max(top, outer.top)];
      [right, bottom] = [Math.min(right, outer.right), Math.min(bottom, outer.bottom)];
    }
    return right - left > 1 && bottom - top > 1 && right > 0 ? { left, top, right, bottom } : null;
  }

  function rectsOf(node, from, to) {
    const range = document.createRange();
    range.setStart(node, from);
    range.setEnd(node, to);
    return [...range.getClientRects()];
  }

  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("script, style, template, noscript, option")) continue;
    if (element.closest("svg") && !element.closest("text")) continue;
    if (!element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
    const rects = rectsOf(node, 0, node.length).map((rect) => seen(rect, element)).filter(Boolean);
    if (rects.length) texts.push({ node, element, rects });
  }

  for (const { node, element, rects } of texts) {
    if (rects.some((rect) => rect.right > most + 1)) found.push(`${told(node.data)} leaves the page`);
    const { a, b } = element.getScreenCTM?.() ?? { a: 1, b: 0 }; // plots are scaled, and turn some texts
    const size = parseFloat(style(element).fontSize) * Math.hypot(a, b);
    if (size < least) found.push(`${told(node.data)} is ${size.toFixed(1)} pixels high`);
  }

  const boxes = texts.flatMap(({ node, rects }) => rects.map((rect) => ({ node, rect })));
  boxes.sort((one, other) => one.rect.top - other.rect.top);
  for (const [number, { node, rect }] of boxes.entries()) {
    for (let next = number + 1; next < boxes.length && boxes[next].rect.top < rect.bottom; next += 1) {
      const other = boxes[next];
      const across = Math.min(rect.right, other.rect.right) - Math.max(rect.left, other.rect.left);
      const down = Math.min(rect.bottom, other.rect.bottom) - other.rect.top;
      const height = Math.min(rect.bottom - rect.top, other.rect.bottom - other.rect.top);
      if (other.node !== node && across > 1 && down > MOST_OVERLAP * height) {
        found.push(`${told(node.data)} lies over ${told(other.node.data)}`);
      }
    }
  }

  // Scripts without spaces are broken anywhere, and a hyphen or a slash is a place to break.
  const spaceless = /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Thai}/u;
  for (const { node, element } of texts) {
    if (element.closest("svg")) continue;
    let block = element;
    while (style(block).display.startsWith("inline") && style(block).display === "inline") block = block.parentElement;
    const inner = block.clientWidth - parseFloat(style(block).paddingLeft) - parseFloat(style(block).paddingRight);
    for (const match of node.data.matchAll(/[^\s\u00ad\u200b\-–—/·?&=]+/gu)) {
      if (spaceless.test(match[0])) continue;
      const rects = rectsOf(node, match.index, match.index + match[0].length);
      const lines = new Set(rects.map(({ top }) => Math.round(top / 4)));
      const width = rects.reduce((sum, rect) => sum + rect.width, 0);
      if (lines.size > 1 && width <= Math.max(inner, NARROWEST) - 1) {
        found.push(`${told(match[0])} of ${width} pixels is broken in a line of ${inner}`);
      }
    }
  }

  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const channel = (value) => (value <= 10.31475 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([red, green, blue]) => 0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
  const over = ([red, green, blue, alpha = 1], below) =>
    [red, green, blue].map((value, index) => value * alpha + below[index] * (1 - alpha));
  function ground(element) {
    if (!element) return [255, 255, 255]; // as browsers show a page that says nothing, by day
    const own = numbers(style(element).backgroundColor);
    return (own[3] ?? 1) === 1 ? own : over(own, ground(element.parentElement));
  }
  for (const { node, element } of texts) {
    if (element.closest(":disabled")) continue;
    const below = ground(element);
    const colour = element.closest("svg") ? style(element).fill : style(element).color;
    const [one, other] = [luminance(over(numbers(colour), below)), luminance(below)];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) found.push(`${told(node.data)} has a contrast of ${contrast.toFixed(2)}`);
  }

  const small = "button, .button, .top nav a, summary, select, input:not([type=hidden], [type=checkbox]), label.check";
  for (const one of touch ? document.querySelectorAll(small) : []) {
    const { width, height } = one.getBoundingClientRect();
    if (one.checkVisibility() && (height < touch || width < touch * 0.8)) {
      found.push(`${told(one.outerHTML)} is ${width} by ${height} pixels`);
    }
  }
  return [...new Set(found)];
};
