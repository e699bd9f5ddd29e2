// Adds to gradio's inputs and buttons: pasting, dropping a folder, copying, names for screen readers. Nothing here talks to
// a server.
(() => {
  // The input of the open tab: one picture or many files
  const openInput = () =>
    [...document.querySelectorAll("#picture, #files")].find((box) => box.offsetParent !== null);

  function setFiles(box, files) {
    const input = box.querySelector("input[type=file]");
    if (!input || !files.length) return false;
    const list = new DataTransfer();
    for (const file of box.id === "picture" ? files.slice(0, 1) : files) list.items.add(file);
    input.files = list.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  }

  // Ctrl+V anywhere on the page, but not while something is typed
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    const box = openInput();
    if (files.length && box && setFiles(box, files)) event.preventDefault();
  });

  async function walk(entry) {
    if (entry.name.startsWith(".") || entry.name === "__MACOSX") return [];
    if (entry.isFile) return [await new Promise((done, fail) => entry.file(done, fail))];
    const reader = entry.createReader();
    const files = [];
    for (;;) {  // a reader returns at most 100 entries at a time
      const batch = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!batch.length) return files;
      for (const child of batch) files.push(...(await walk(child)));
    }
  }

  const pictureName = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|hei[cf]|zip)$/i;

  // A folder dropped on the second tab: gradio would treat it as an empty file
  document.addEventListener(
    "drop",
    (event) => {
      const box = event.target.closest?.("#files");
      const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
      if (!box || !entries.some((entry) => entry.isDirectory)) return;
      event.preventDefault();
      event.stopPropagation();
      Promise.all(entries.map((entry) => walk(entry))).then((lists) =>
        setFiles(box, lists.flat().filter((file) => pictureName.test(file.name))));
    },
    true,
  );

  // Names and focus for screen readers and keyboards, where gradio gives none; runs after each change of the page
  function amend() {
    const each = (selector, change) => document.querySelectorAll(selector).forEach(change);
    const set = (node, name, value) => node.getAttribute(name) === value || node.setAttribute(name, value);
    each("#examples button.gallery-item, button.gallery-item", (button) => {
      const file = button.querySelector("img")?.src.split("/").pop().split("?")[0].replace(/\.\w+$/, "");
      set(button, "aria-label", `Try the example: ${(file ?? "picture").replace(/[_-]+/g, " ")}`);
    });
    each("#picture button.upload-container, #files button.upload-container", (button) => {
      if (button.innerText.trim()) button.removeAttribute("aria-label");  // the visible text is the better name
      else if (button.closest("#files")) set(button, "aria-label", "Add more");
    });
    each('#files button[aria-label="common.upload"]', (button) => {  // gradio puts the real button inside of this one
      set(button, "role", "group");
      set(button, "tabindex", "-1");
      set(button, "title", "Add more");
      button.removeAttribute("aria-label");
    });
    each("#overlay img", (image) =>
      set(image, "alt", image.matches(".fixed") ? "The same picture with the evidence marked" : "The picture"));
    each("#answer, #batch-state, #share-state, #feedback-state", (box) => set(box, "aria-live", "polite"));
    each("#programs pre, #card, #card pre, #card table", (box) => set(box, "tabindex", "0"));  // they scroll on a phone
  }
  let scheduled = false;
  new MutationObserver(() => {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      amend();
    });
  }).observe(document.documentElement, { childList: true, subtree: true });

  // The button "Copy summary"; resolves to whether it was copied. Without https a page has no clipboard, but a selection.
  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const box = document.createElement("textarea");
      box.value = text;
      document.body.append(box);
      box.select();
      const done = document.execCommand("copy");
      box.remove();
      return done;
    }
  }
  window.fakedetCopy = async (text, yes, no) => ((await copied(text)) ? yes : no);

  // The button "Download report", when the report is written: a press on the hidden download button
  window.fakedetSave = () => document.querySelector("#report-file")?.click();

  // Hands files to the second tab, once its box is there: gradio draws the box later than the button beside it
  async function give(files) {
    for (let wait = 0; wait < 100; wait++) {
      const box = document.querySelector("#files");
      if (!files.length || (box && setFiles(box, files))) return;
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  // The button "Choose a folder"
  window.fakedetFolder = () => {
    const picker = document.createElement("input");
    picker.type = "file";
    picker.webkitdirectory = true;
    picker.id = "folder-picker";
    picker.hidden = true;
    picker.onchange = () => {
      const files = [...picker.files].filter((file) => pictureName.test(file.name) && !/(^|\/)[._]/.test(file.webkitRelativePath));
      give(files);
      picker.remove();
    };
    document.body.append(picker);
    picker.click();
  };
})();
