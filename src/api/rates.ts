/*
 * Limits the rate of requests by token buckets: a bucket is filled at the allowed rate, and each request takes a token.
 */

interface Bucket {
  tokens: number;
  /** Milliseconds at which the number of tokens was computed. */
  at: number;
  perMinute: number;
}

/** Requests that may come at once: those of ten seconds, and at least ten. */
const burstOf = (perMinute: number): number => Math.min(perMinute, Math.max(10, perMinute / 6));

export interface Rates {
  /** Takes a token from the caller's bucket. Returns 0, or the whole seconds until there is one. */
  take(caller: string, perMinute: number): number;
  readonly size: number;
}

/**
 * `most` bounds the number of buckets. A full bucket is equivalent to none, so that full ones are removed first; above
 * the bound, the fullest of those that were not used for the longest time. A caller that is being limited is among the
 * last.
 */
export function createRates({
  most = 50_000,
  now = () => performance.now(),
}: {
  most?: number;
  now?: () => number;
} = {}): Rates {
  /** In the order of the last use. */
  const buckets = new Map<string, Bucket>();
  const tokensOf = ({ tokens, at, perMinute }: Bucket, time: number): number =>
    Math.min(burstOf(perMinute), tokens + ((time - at) * perMinute) / 60_000);

  const makeRoom = (time: number): void => {
    let fullest: string | undefined;
    let highest = -1;
    let seen = 0;
    for (const [caller, bucket] of buckets) {
      const share = tokensOf(bucket, time) / burstOf(bucket.perMinute);
      // Two at most for each new one: the number falls, and no request pays for a long sweep.
      if (share >= 1 && seen < 2) buckets.delete(caller);
      else if (share > highest) [fullest, highest] = [caller, share];
      seen += 1;
      if (seen >= (buckets.size < most ? 2 : 16)) break;
    }
    if (buckets.size >= most && fullest !== undefined) buckets.delete(fullest);
  };

  return {
    take(caller, perMinute) {
      const time = now();
      const found = buckets.get(caller);
      if (found === undefined) makeRoom(time);
      else buckets.delete(caller);
      const tokens = found === undefined ? burstOf(perMinute) : tokensOf({ ...found, perMinute }, time);
      const granted = tokens >= 1;
      buckets.set(caller, { tokens: granted ? tokens - 1 : tokens, at: time, perMinute });
      return granted ? 0 : Math.max(1, Math.ceil(((1 - tokens) * 60) / perMinute));
    },
    get size() {
      return buckets.size;
    },
  };
}
