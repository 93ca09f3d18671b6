/** What a column holds: a short word of ours, a name of a source, a number, text of any length, a time. */
export type Kind = 'word' | 'name' | 'number' | 'long' | 'time';

/** One control table. Stored at the destination: add columns, never rename. Columns outside the key have a default or are nullable. */
export type ControlTable = {
  readonly columns: Readonly<Record<string, Kind>>;
  readonly key: readonly string[];
  readonly shard: readonly string[];
  readonly rowstore: boolean;
};

/** The control tables of each destination database (EXACTNESS.md §1). Stored at the destination: add columns, never rename. */
export const CONTROL: Readonly<Record<string, ControlTable>> = {
  _flow_checkpoints: {
    columns: {
      pipeline: 'word',
      scope: 'number',
      run: 'number',
      token: 'number',
      owner: 'word',
      seq: 'number',
      position: 'long',
      ordinal: 'number',
      slot: 'name',
      identity: 'long',
      connections: 'long',
      // The last table (by id) of a pass, which holds everything up to `part_until`; '': no transaction is written in passes.
      part: 'word',
      part_until: 'long',
    },
    key: ['pipeline', 'scope'],
    shard: ['pipeline', 'scope'],
    rowstore: true,
  },
  _flow_tables: {
    columns: {
      table_id: 'word',
      pipeline: 'word',
      source_schema: 'name',
      source_name: 'name',
      target_table: 'name',
      scope: 'number',
      state: 'word',
      // 1 once a load of this pipeline has been put in place (or an existing table was adopted): only then the target may be replaced.
      live: 'number',
      run: 'number',
      load_number: 'number',
      // The load that the live copy came from; 0 in rows of versions that did not know it.
      live_load: 'number',
      // '' | planning | loading | sealed | journalled | dropping
      load_state: 'word',
      load_scope: 'number',
      load_shape: 'long',
      load_replace: 'number',
      load_adopt: 'number',
      load_keep: 'number',
      load_history: 'number',
      load_until: 'long',
      load_rows: 'number',
      load_bytes: 'number',
      load_rules: 'long',
      load_started: 'time',
      load_fence: 'number',
      follow_from: 'long',
      ahead_until: 'long',
      // 1: the copy keeps versions of its rows. Changes up to `baseline_until` belong to the loaded rows.
      history: 'number',
      baseline_until: 'long',
      // The scope's `part_until` when the table joined it.
      joined: 'long',
      // Of a paused table whose log is kept: where its copy stands, and the slot that keeps the log.
      kept_position: 'long',
      kept_slot: 'name',
      options_hash: 'word',
      rows_total: 'number',
      bytes_total: 'number',
      rules: 'long',
      started_at: 'time',
      loaded_at: 'time',
      // Changes of runs that `_flow_runs` no longer knows one by one; times: the last commit at the source, and its write here.
      inserted: 'number',
      updated: 'number',
      deleted: 'number',
      parked: 'number',
      changed_at: 'time',
      written_at: 'time',
      error_class: 'word',
      error_message: 'long',
      error_action: 'long',
    },
    key: ['table_id'],
    shard: ['table_id'],
    rowstore: true,
  },
  _flow_chunks: {
    columns: {
      table_id: 'word',
      load_number: 'number',
      chunk: 'number',
      token: 'number',
      state: 'word',
      cut: 'long',
      rows_sent: 'number',
      bytes_sent: 'number',
      rows_parked: 'number',
      rules: 'long',
    },
    key: ['table_id', 'load_number', 'chunk'],
    shard: ['table_id'],
    rowstore: true,
  },
  _flow_structures: {
    columns: { table_id: 'word', load_number: 'number', serial: 'number', valid_from: 'long', structure: 'long' },
    key: ['table_id', 'load_number', 'serial'],
    shard: ['table_id'],
    rowstore: false,
  },
  _flow_journal: {
    columns: {
      table_id: 'word',
      pipeline: 'word',
      run: 'number',
      load_number: 'number',
      // journal | retire | install
      step: 'word',
      target_table: 'name',
    },
    key: ['table_id'],
    shard: ['table_id'],
    rowstore: true,
  },
  _flow_points: {
    columns: {
      pipeline: 'word',
      point: 'number',
      scope: 'number',
      run: 'number',
      position: 'long',
      source_time: 'time',
      recorded_at: 'time',
      // By database: the ordinal that belongs to the position.
      ordinals: 'long',
    },
    key: ['pipeline', 'point'],
    shard: ['pipeline', 'point'],
    rowstore: false,
  },
  _flow_dead_letters: {
    columns: {
      table_id: 'word',
      row_key: 'word',
      key_text: 'long',
      letter: 'long',
      reason: 'long',
      position: 'long',
      recorded_at: 'time',
    },
    key: ['table_id', 'row_key'],
    shard: ['table_id', 'row_key'],
    rowstore: false,
  },
  _flow_rereads: {
    columns: { table_id: 'word', row_key: 'word', key_text: 'long', reason: 'long', recorded_at: 'time' },
    key: ['table_id', 'row_key'],
    shard: ['table_id', 'row_key'],
    rowstore: false,
  },
  _flow_runs: {
    columns: {
      pipeline: 'word',
      run: 'number',
      table_id: 'word',
      source_schema: 'name',
      source_name: 'name',
      target_table: 'name',
      state: 'word',
      rows_total: 'number',
      bytes_total: 'number',
      started_at: 'time',
      ended_at: 'time',
      error_class: 'word',
      error_message: 'long',
      error_action: 'long',
      // What a validation found; '' for loads.
      checked: 'long',
      // Changes that the run has applied, counted in the transactions that wrote them.
      inserted: 'number',
      updated: 'number',
      deleted: 'number',
      parked: 'number',
      changed_at: 'time',
      written_at: 'time',
    },
    key: ['pipeline', 'run', 'table_id'],
    shard: ['pipeline', 'run', 'table_id'],
    rowstore: true,
  },
};
