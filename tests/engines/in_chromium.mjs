// Opens a page in headless Chromium and does what a list of steps says; prints what the page asked for and said.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { chromium } = createRequire(process.env.ENGINES + "/")("playwright-core");
const { page: address, size, steps, executable } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const PATIENCE = 120_000; // milliseconds: a software renderer draws

const browser = await chromium.launch({
  executablePath: executable,
  args: ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
});
const page = await browser.newPage({ viewport: { width: size[0], height: size[1] } });
const told = { requests: [], said: [], answers: [] };
page.on("request", (request) => told.requests.push(request.url().slice(0, 200)));
page.on("console", (message) => told.said.push(message.text()));
page.on("pageerror", (error) => told.said.push(String(error)));

const DOES = {
  still: () => page.waitForSelector("html[data-state=still]", { state: "attached", timeout: PATIENCE }),
  press: (key) => page.keyboard.press(key),
  hold: async (key) => { // for some frames, however slow they are
    await page.keyboard.down(key);
    await page.evaluate(async () => { for (let n = 0; n < 4; n++) await new Promise(requestAnimationFrame); });
    await page.keyboard.up(key);
  },
  shot: (path) => page.screenshot({ path }),
  ask: async (expression) => told.answers.push(await page.evaluate(expression)),
  drag: async (from, to) => {
    await page.mouse.move(...from);
    await page.mouse.down();
    await page.mouse.move(...to, { steps: 4 });
    await page.mouse.up();
  },
  drop: async (path) => {
    const transfer = await page.evaluateHandle(([name, data]) => {
      const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)), held = new DataTransfer();
      held.items.add(new File([bytes], name));
      return held;
    }, [path.split("/").pop(), readFileSync(path).toString("base64")]);
    await page.dispatchEvent("canvas", "drop", { dataTransfer: transfer });
    await page.waitForFunction(() => !document.getElementById("message").textContent.startsWith("reading"));
  },
};

try {
  await page.goto(address);
  for (const [step, ...words] of steps) await DOES[step](...words);
  console.log(JSON.stringify(told));
} finally {
  await browser.close();
}
