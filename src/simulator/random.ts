/**
 * A small, fast and portable random number generator: sfc32 (Chris Doty-Humphrey, PractRand; passes BigCrush), seeded
 * by hashing a label.
 *
 * `fork` gives an independent stream for a part of the simulation. A learner's stream depends on the seed and on the
 * learner's number alone, so that a larger population contains the smaller one, and a change in one part of the model
 * does not affect the others.
 */
export class Random {
  readonly #label: string;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(label: string) {
    this.#label = label;
    [this.#a, this.#b, this.#c] = hash96(label);
    for (let round = 0; round < 15; round += 1) this.bits();
  }

  fork(label: string | number): Random {
    return new Random(`${this.#label}/${label}`);
  }

  /** 32 uniform bits. */
  bits(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return this.bits() / 4_294_967_296;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.uniform();
  }

  /** A whole number from low to high, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.uniform() < probability;
  }

  /** Box and Muller; the second value is discarded, so that every call consumes the same number of bits. */
  normal(mean = 0, deviation = 1): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return mean + deviation * radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Log-normal, given by its median and the standard deviation of its logarithm. */
  logNormal(median: number, deviation: number): number {
    return median * Math.exp(this.normal(0, deviation));
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.uniform());
  }

  /** Knuth's method: the means here are small. */
  poisson(mean: number): number {
    const limit = Math.exp(-mean);
    let product = this.uniform();
    let count = 0;
    while (product > limit) {
      product *= this.uniform();
      count += 1;
    }
    return count;
  }

  /** Marsaglia and Tsang (2000), with their transformation for shapes below one. */
  gamma(shape: number): number {
    if (shape < 1) return this.gamma(shape + 1) * (1 - this.uniform()) ** (1 / shape);
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = this.normal();
      const v = (1 + c * x) ** 3;
      if (v > 0 && Math.log(1 - this.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
    }
  }

  /** Symmetric Dirichlet: shares that add up to one; the smaller the concentration, the more one of them dominates. */
  dirichlet(dimensions: number, concentration: number): number[] {
    const shares = Array.from({ length: dimensions }, () => this.gamma(concentration));
    const total = shares.reduce((sum, share) => sum + share, 0);
    return shares.map((share) => share / total);
  }

  pick<T>(values: readonly T[]): T {
    return at(values, Math.floor(this.uniform() * values.length));
  }

  /** One of the values, with probability in proportion to its weight. */
  weighted<T>(values: readonly T[], weight: (value: T) => number): T {
    const weights = values.map(weight);
    let rest = this.uniform() * weights.reduce((sum, each) => sum + each, 0);
    for (const [index, each] of weights.entries()) {
      rest -= each;
      if (rest < 0) return at(values, index);
    }
    return at(values, values.length - 1);
  }
}

/** The element at an index that is known to exist. */
export function at<T>(values: ArrayLike<T>, index: number): T {
  const value = values[index];
  if (value === undefined) throw new RangeError(`index ${index} is outside of 0 to ${values.length - 1}`);
  return value;
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

export function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, index) => sum + value * at(b, index), 0);
}

/** Three rounds of FNV-1a with different bases, each finished by murmur3's avalanche. */
function hash96(text: string): [number, number, number] {
  const one = (basis: number): number => {
    let hash = basis;
    for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) | 0;
  };
  return [one(0x811c9dc5), one(0x9e3779b9), one(0x7f4a7c15)];
}
