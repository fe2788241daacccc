import type { FeatureResult } from "../collector/dialect.ts";
import { tagOf } from "./files.ts";
import type { RunAs } from "./run-as.ts";

/*
 * The features and experiments that GrowthBook's clients read from /api/features/<key>. The body is the same for all keys,
 * so that it is read from the database once in a while and not for each request.
 */

/** Milliseconds for which a body is used. */
const fresh = 1000;

export interface Features {
  /** The body and its entity tag. Without the database, those that were read last. */
  read(): Promise<Body>;
  /** GrowthBook's results for the attributes of a person, by feature. */
  evaluate(attributes: Readonly<Record<string, unknown>>): Promise<Record<string, FeatureResult>>;
}

interface Body {
  text: string;
  tag: string;
}

export const featureHeaders = {
  "content-type": "application/json; charset=utf-8",
  /** A change reaches clients that poll within half a minute. */
  "cache-control": "public, max-age=30, stale-while-revalidate=300, stale-if-error=86400",
  vary: "Origin",
};

/** The key in the path of a request, as it was sent; undefined for another path. */
export function featureKey(path: string): string | undefined {
  const [, key] = /^\/api\/features\/([^/]*)$/.exec(path) ?? [];
  return key;
}

export function createFeatures(run: RunAs, now: () => number = () => performance.now()): Features {
  let kept: (Body & { at: number }) | undefined;
  let reading: Promise<Body> | undefined;

  async function refresh(): Promise<Body> {
    const [row] = await run<{ payload: object }>("worker", "select experiment.features() as payload");
    const text = JSON.stringify({ status: 200, ...row?.payload });
    kept = { text, tag: tagOf(text), at: now() };
    return kept;
  }

  async function read(): Promise<Body> {
    if (kept !== undefined && now() - kept.at < fresh) return kept;
    reading ??= refresh().finally(() => {
      reading = undefined;
    });
    try {
      return await reading;
    } catch (error) {
      if (kept === undefined) throw error;
      return kept;
    }
  }

  return {
    read,
    async evaluate(attributes) {
      const { text } = await read();
      const rows = await run<{ key: string; result: FeatureResult }>(
        "worker",
        `select feature.key, experiment.eval_feature($1::jsonb || jsonb_build_object('attributes', $2::jsonb), feature.key) as result
         from jsonb_object_keys($1::jsonb -> 'features') as feature (key)
         order by feature.key`,
        [text, JSON.stringify(attributes)],
      );
      return Object.fromEntries(rows.map(({ key, result }) => [key, result]));
    },
  };
}
