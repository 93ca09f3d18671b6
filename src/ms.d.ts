// The SDK's durations are typed by this module; its own package offers no types to a TypeScript ESM project, and without
// them every duration would silently be `any`.
declare module 'ms' {
  type Unit =
    | 'ms'
    | 's'
    | 'second'
    | 'seconds'
    | 'm'
    | 'minute'
    | 'minutes'
    | 'h'
    | 'hour'
    | 'hours'
    | 'd'
    | 'day'
    | 'days';
  export type StringValue = `${number}` | `${number}${Unit}` | `${number} ${Unit}`;
  export default function ms(value: StringValue): number;
}
