// Stacks series for bar charts: each becomes its sum with those below it. Bars drawn from the last series to the first then
// look stacked.

export type Values = (number | null)[];

export function stacked(series: Values[]): number[][] {
  const below: number[] = [];
  return series.map((values) =>
    values.map((value, index) => {
      const sum = (below[index] ?? 0) + (value ?? 0);
      below[index] = sum;
      return sum;
    }),
  );
}

export function sum(values: Values): number {
  return values.reduce<number>((total, value) => total + (value ?? 0), 0);
}
