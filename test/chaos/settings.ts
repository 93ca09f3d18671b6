import { setTimeout as delay } from 'node:timers/promises';
import { type Api, named } from './api.ts';

/** One setting that is saved again and again with rising values. */
type Setting = {
  readonly name: string;
  save(api: Api, value: number): Promise<unknown>;
  read(api: Api): Promise<number>;
};

const settings: readonly Setting[] = [
  {
    name: 'licence',
    save: (api, value) => api.once('PATCH', '/config-var/licence', named({ _lic_key: `key-${value}` })),
    read: async (api) => numberIn(await api.get('/config-var/licence'), /"key-(\d+)"/),
  },
  {
    name: 'source parameter',
    save: (api, value) => api.once('PATCH', '/conn-src', named({ site_note: `note-${value}` })),
    read: async (api) => numberIn(await api.get('/conn-src'), /"note-(\d+)"/),
  },
  {
    name: 'schedule',
    save: (api, value) => {
      const duration = `${1 + value}d00h00m00s`;
      return api.once('PATCH', '/config-sched', { type: 'periodic', duration, offset: '0d00h00m', isScheduled: false });
    },
    read: async (api) => numberIn(await api.get('/config-sched'), /"duration":"(\d+)d/) - 1,
  },
];

function numberIn(answer: unknown, pattern: RegExp): number {
  return Number(pattern.exec(JSON.stringify(answer))?.[1] ?? 0);
}

export type Saving = {
  /** Ends the writers and reads everything back: how many saves were acknowledged, and which of them are lost. */
  check(): Promise<{ acknowledged: number; unanswered: number; lost: string[] }>;
};

/** Saves each setting as fast as the API takes it, one writer a setting. What was acknowledged must be there at the end. */
export function keepSaving(api: Api): Saving {
  let going = true;
  const writers = settings.map(async (setting) => {
    let acknowledged = 0;
    let sent = 0;
    let count = 0;
    let unanswered = 0;
    while (going) {
      sent++;
      try {
        await setting.save(api, sent);
        acknowledged = sent;
        count++;
      } catch {
        unanswered++;
        await delay(50);
      }
    }
    return { setting, acknowledged, sent, count, unanswered };
  });
  return {
    async check() {
      going = false;
      const results = await Promise.all(writers);
      const lost: string[] = [];
      for (const { setting, acknowledged, sent } of results) {
        const found = await setting.read(api);
        // A save without an answer may have been made or not.
        if (found < acknowledged || found > sent)
          lost.push(`${setting.name}: ${found} is stored, ${acknowledged} was acknowledged, ${sent} sent`);
      }
      return {
        acknowledged: results.reduce((sum, one) => sum + one.count, 0),
        unanswered: results.reduce((sum, one) => sum + one.unanswered, 0),
        lost,
      };
    },
  };
}
