import { type Insights, load } from "./client.ts";

/*
 * The client as one file: for `import`, and for `<script type="module" src="…/insights.js" data-insights-key="…">`, which
 * starts it and sets `window.insights`.
 */

declare global {
  interface Window {
    insights?: Insights;
  }
}

export type { Insights, Options, Properties } from "./client.ts";
export { load };

const script = globalThis.document?.querySelector<HTMLScriptElement>("script[data-insights-key]");
if (script) {
  const { insightsKey: key = "", insightsPurpose, insightsOptIn, insightsGpc } = script.dataset;
  window.insights = load({
    url: new URL(".", script.src).href,
    key,
    optIn: insightsOptIn !== undefined,
    gpc: insightsGpc === "stop" ? "stop" : "mark",
    ...(insightsPurpose === undefined ? {} : { purpose: insightsPurpose }),
  });
}
