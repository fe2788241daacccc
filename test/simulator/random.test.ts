import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heap } from "../../src/simulator/heap.ts";
import { Random } from "../../src/simulator/random.ts";

function moments(draw: () => number, count = 200_000): { mean: number; variance: number } {
  const values = Array.from({ length: count }, draw);
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  return { mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1) };
}

describe("randomness", () => {
  test("a label gives one stream, whatever else is drawn", () => {
    const random = new Random("a");
    const before = Array.from({ length: 5 }, () => random.fork("b").bits());
    expect(new Set(before).size).toBe(1);
    random.bits();
    expect(random.fork("b").bits()).toBe(before[0]);
    expect(new Random("a/b").bits()).toBe(before[0]);
    expect(new Random("a").bits()).not.toBe(new Random("b").bits());
  });

  test("streams of similar labels are not correlated", () => {
    const firsts = Array.from({ length: 20_000 }, (_, index) => new Random(`learner/${index}`).uniform());
    const mean = firsts.reduce((sum, value) => sum + value, 0) / firsts.length;
    expect(mean).toBeCloseTo(0.5, 1);
    const lagged = firsts.slice(1).reduce((sum, value, index) => sum + (value - 0.5) * ((firsts[index] ?? 0) - 0.5), 0);
    // Twelve times the autocovariance is the correlation; its standard deviation is one over the root of the count.
    expect(Math.abs((12 * lagged) / firsts.length)).toBeLessThan(4 / Math.sqrt(firsts.length));
    expect(new Set(firsts).size).toBeGreaterThan(19_990);
  });

  // Mean and variance of each distribution; four standard deviations of the estimate are allowed.
  test.each<[string, (random: Random) => number, number, number]>([
    ["uniform", (random) => random.uniform(), 1 / 2, 1 / 12],
    ["normal", (random) => random.normal(2, 3), 2, 9],
    ["exponential", (random) => random.exponential(2), 2, 4],
    ["gamma(3)", (random) => random.gamma(3), 3, 3],
    ["gamma(0.25)", (random) => random.gamma(0.25), 0.25, 0.25],
    ["poisson(1.7)", (random) => random.poisson(1.7), 1.7, 1.7],
    ["integer 1 to 6", (random) => random.integer(1, 6), 3.5, 35 / 12],
    ["dirichlet", (random) => random.dirichlet(4, 0.5)[0] ?? 0, 1 / 4, 1 / 16],
    ["weighted", (random) => random.weighted([0, 1], (value) => (value === 1 ? 3 : 1)), 3 / 4, 3 / 16],
  ])("%s has its mean and variance", (name, draw, mean, variance) => {
    const random = new Random(name);
    const found = moments(() => draw(random));
    expect(Math.abs(found.mean - mean)).toBeLessThan(4 * Math.sqrt(variance / 200_000));
    expect(Math.abs(found.variance / variance - 1)).toBeLessThan(0.05);
  });
});

test("a heap returns its values sorted, in any order of calls", () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.integer(), { nil: undefined })), (steps) => {
      const heap = new Heap<number>((a, b) => a - b);
      let model: number[] = [];
      for (const step of steps) {
        if (step === undefined) {
          expect(heap.peek()).toBe(model[0]);
          expect(heap.pop()).toBe(model[0]);
          model = model.slice(1);
        } else {
          heap.push(step);
          model = [...model, step].sort((a, b) => a - b);
        }
        expect(heap.size).toBe(model.length);
      }
    }),
  );
});
