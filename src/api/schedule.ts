import type { Schedule } from '../workflows/messages.ts';
import { badFields, type FieldError } from './problem.ts';
import { type Ctx, idempotencyKey, noContent, readBody, readOptionalBody } from './request.ts';
import { type Deps, empty, json, type Route } from './route.ts';
import { scheduleBody, schedulerBody, scheduleSchema } from './schemas.ts';

type Given = {
  readonly type: Schedule['type'];
  readonly duration?: string | null | undefined;
  readonly offset?: string | null | undefined;
  readonly weekFlags?: string | null | undefined;
};

const noOffset = '0d00h00m';

/** Checks a schedule and brings it into its full form; missing parts of times count as zero. Throws a `Problem` naming every wrong field. */
export function normaliseSchedule(given: Given): Schedule {
  const errors: FieldError[] = [];
  const offset = readOffset(given, errors);
  const schedule = {
    type: given.type,
    duration: readDuration(given, errors),
    offset,
    weekFlags: readWeekFlags(given, errors),
  };
  if (errors.length > 0) throw badFields(errors);
  return schedule;
}

function readDuration({ type, duration }: Given, errors: FieldError[]): string | null {
  const wrong = (message: string) => {
    errors.push({ field: 'duration', message });
    return null;
  };
  const given = duration ?? null;
  if (type === 'manual' || type === 'auto') return given === null ? null : wrong(`is not applicable for type ${type}`);
  if (given === null) return wrong(`is required for type ${type}`);
  if (type === 'periodic') {
    const time = readTime(given, 'dhms');
    if (time === undefined) return wrong('must be an interval such as 1d02h05m10s');
    if (time.d + time.h + time.m + time.s === 0) return wrong('must be at least one second');
    return inRange(time) ?? wrong('must have hours below 24, minutes and seconds below 60, and days up to 36500');
  }
  const time = readTime(given, 'hm');
  if (time === undefined) return wrong('must be a time of day such as 14h46m');
  return inRange(time)?.slice(2, 8) ?? wrong('must have hours below 24 and minutes below 60');
}

function readOffset({ type, offset }: Given, errors: FieldError[]): string {
  if (offset === undefined || offset === null) return noOffset;
  const time = readTime(offset, 'dhm');
  const full = time && inRange(time)?.slice(0, -3);
  if (full === undefined)
    errors.push({ field: 'offset', message: 'must be an offset such as 0d00h01m, hours below 24, minutes below 60' });
  else if (full !== noOffset && type !== 'periodic')
    errors.push({ field: 'offset', message: 'is for type periodic only' });
  return full ?? noOffset;
}

function readWeekFlags({ type, weekFlags }: Given, errors: FieldError[]): string | null {
  const given = weekFlags ?? null;
  const wrong = (message: string) => errors.push({ field: 'weekFlags', message });
  if (type !== 'weekly') {
    if (given !== null) wrong('is for type weekly only');
    return null;
  }
  if (given === null) wrong('is required for type weekly');
  else if (!/^[YN]{7}$/.test(given)) wrong('must be seven letters Y or N, from Sunday to Saturday');
  else if (!given.includes('Y')) wrong('must include at least one day');
  return given;
}

type Time = { readonly d: number; readonly h: number; readonly m: number; readonly s: number };

function readTime(text: string, units: string): Time | undefined {
  const groups = /^(?:(?<d>\d{1,6})d)?(?:(?<h>\d{1,2})h)?(?:(?<m>\d{1,2})m)?(?:(?<s>\d{1,2})s)?$/.exec(text)?.groups;
  if (groups === undefined || text === '') return undefined;
  if (Object.entries(groups).some(([unit, value]) => value !== undefined && !units.includes(unit))) return undefined;
  const part = (unit: string) => Number(groups[unit] ?? 0);
  return { d: part('d'), h: part('h'), m: part('m'), s: part('s') };
}

/** The full form `DdHHhMMmSSs`, or undefined when a part is too large. */
function inRange({ d, h, m, s }: Time): string | undefined {
  const two = (value: number) => String(value).padStart(2, '0');
  return d <= 36_500 && h < 24 && m < 60 && s < 60 ? `${d}d${two(h)}h${two(m)}m${two(s)}s` : undefined;
}

/** `config-sched` and the scheduler's switch. */
export function scheduleRoutes({ pipelines, key }: Deps): Route[] {
  async function save(c: Ctx, pipeline: string): Promise<Response> {
    const body = await readBody(c, scheduleBody);
    const asked = idempotencyKey(c, key, body);
    const schedule = normaliseSchedule(body);
    const switched =
      body.isScheduled === undefined || body.isScheduled === null ? {} : { isScheduled: body.isScheduled };
    await pipelines.setSchedule({ pipeline, key: asked.given }, { schedule, ...switched, idempotencyKey: asked.key });
    return noContent();
  }
  async function show(c: Ctx, pipeline: string): Promise<Response> {
    const { schedule, scheduler } = await pipelines.config(pipeline);
    const { duration, offset, type, weekFlags } = schedule;
    return c.json({ duration, offset, isScheduled: scheduler.on, type, weekFlags });
  }
  const toggle = (on: boolean) => async (c: Ctx, pipeline: string) => {
    const body = await readOptionalBody(c, schedulerBody);
    const asked = idempotencyKey(c, key, body);
    const reason = body.reason === undefined ? {} : { reason: body.reason };
    await pipelines.setScheduler({ pipeline, key: asked.given }, { on, ...reason, idempotencyKey: asked.key });
    return noContent();
  };
  const tag = 'Schedule';
  const switches = ([true, false] as const).map((on): Route => {
    const word = on ? 'on' : 'off';
    const body = { schema: schedulerBody, required: false };
    const summary = `Turn the scheduler ${word}`;
    return {
      method: 'post',
      path: `/scheduler/${word}`,
      id: `scheduler-${word}`,
      tag,
      summary,
      body,
      answers: empty,
      handle: toggle(on),
    };
  });
  return [
    {
      method: 'patch',
      path: '/config-sched',
      id: 'save-schedule',
      tag,
      summary: 'Save schedule settings',
      body: { schema: scheduleBody, required: true },
      answers: empty,
      handle: save,
    },
    {
      method: 'get',
      path: '/config-sched',
      id: 'get-schedule',
      tag,
      summary: 'Get schedule settings',
      answers: { 200: json('The schedule', scheduleSchema) },
      handle: show,
    },
    ...switches,
  ];
}
