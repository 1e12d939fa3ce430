-- Jobs, snapshots and failures. Keep in step with migrations/postgres; statuses are listed in src/metadata/model.rs.
-- An applied migration is never edited: add another file.

CREATE TABLE jobs (
    id                 TEXT   NOT NULL PRIMARY KEY,
    name               TEXT   NOT NULL,
    sql                TEXT   NOT NULL,
    plan               TEXT   NOT NULL,
    settings           TEXT   NOT NULL,
    status             TEXT   NOT NULL CHECK (status IN ('CREATED', 'INITIALIZING', 'RUNNING', 'RESTARTING', 'CANCELLING', 'SUSPENDED', 'CANCELED', 'FAILED', 'FINISHED')),
    desired            TEXT   NOT NULL CHECK (desired IN ('RUNNING', 'STOPPED', 'CANCELED', 'DELETED')),
    attempt            BIGINT NOT NULL CHECK (attempt >= 0),
    restarts           BIGINT NOT NULL CHECK (restarts >= 0),
    owner              TEXT,
    lease_until_ms     BIGINT NOT NULL,
    failure            TEXT,
    created_ms         BIGINT NOT NULL,
    started_ms         BIGINT,
    ended_ms           BIGINT,
    updated_ms         BIGINT NOT NULL,
    -- Since the last completed one.
    failed_checkpoints BIGINT NOT NULL DEFAULT 0 CHECK (failed_checkpoints >= 0),
    -- Handed out once each, failed snapshots included.
    next_checkpoint_id BIGINT NOT NULL DEFAULT 1,
    -- Of sql, plan and settings; the others are in job_versions.
    version            BIGINT NOT NULL DEFAULT 1 CHECK (version > 0),
    -- JSON: the snapshot that a restart named, until the job has a checkpoint of its own made from it.
    restart_from       TEXT,
    -- JSON: what the newest attempt was restored from.
    restored           TEXT
);
CREATE UNIQUE INDEX jobs_live_name ON jobs (name) WHERE status NOT IN ('CANCELED', 'FAILED', 'FINISHED');
CREATE INDEX jobs_by_name ON jobs (name, created_ms, id);
CREATE INDEX jobs_by_created ON jobs (created_ms, id);
CREATE INDEX jobs_by_status ON jobs (status, created_ms, id);
CREATE INDEX jobs_runnable ON jobs (created_ms, id) WHERE status NOT IN ('CANCELED', 'FAILED', 'FINISHED');
CREATE INDEX jobs_by_owner ON jobs (owner) WHERE owner IS NOT NULL;

-- The searchable copy of the labels in jobs.settings.
CREATE TABLE job_labels (
    job_id TEXT NOT NULL CONSTRAINT job_labels_job REFERENCES jobs (id) ON DELETE CASCADE,
    key    TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (job_id, key)
);
CREATE INDEX job_labels_by_value ON job_labels (key, value, job_id);

-- The key is claimed before the job is inserted, in one transaction: hence the deferred reference.
CREATE TABLE idempotency_keys (
    key          TEXT   NOT NULL PRIMARY KEY,
    request_hash TEXT   NOT NULL,
    job_id       TEXT   NOT NULL CONSTRAINT idempotency_keys_job REFERENCES jobs (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    created_ms   BIGINT NOT NULL
);
CREATE INDEX idempotency_keys_by_job ON idempotency_keys (job_id);

CREATE TABLE snapshots (
    id             TEXT   NOT NULL PRIMARY KEY,
    -- The job of this database that it belongs to. None: an imported savepoint, or one that outlived its job.
    job_id         TEXT CONSTRAINT snapshots_job REFERENCES jobs (id) ON DELETE SET NULL,
    -- The job that took it, wherever that was.
    origin_job_id  TEXT NOT NULL,
    origin_name    TEXT   NOT NULL,
    kind           TEXT   NOT NULL CHECK (kind IN ('CHECKPOINT', 'SAVEPOINT')),
    checkpoint_id  BIGINT NOT NULL CHECK (checkpoint_id > 0),
    attempt        BIGINT NOT NULL CHECK (attempt >= 0),
    status         TEXT   NOT NULL CHECK (status IN ('IN_PROGRESS', 'COMPLETED', 'FAILED', 'DELETING')),
    trigger_reason TEXT   NOT NULL CHECK (trigger_reason IN ('PERIODIC', 'MANUAL', 'SAVEPOINT', 'STOP', 'END_OF_INPUT', 'SHUTDOWN')),
    location       TEXT   NOT NULL,
    state_bytes    BIGINT NOT NULL CHECK (state_bytes >= 0),
    uploaded_bytes BIGINT NOT NULL CHECK (uploaded_bytes >= 0),
    started_ms     BIGINT NOT NULL,
    ended_ms       BIGINT,
    failure        TEXT,
    client_key     TEXT,
    format         TEXT   NOT NULL CHECK (format IN ('native', 'canonical')),
    pinned         BOOLEAN NOT NULL DEFAULT FALSE,
    -- JSON; snapshot_labels is its searchable copy.
    labels         TEXT   NOT NULL DEFAULT '{}',
    imported_from  TEXT,
    -- Whether its objects are somebody else's: never deleted from here.
    is_foreign     BOOLEAN NOT NULL DEFAULT FALSE,
    CONSTRAINT snapshots_checkpoint_id UNIQUE (job_id, checkpoint_id),
    CONSTRAINT snapshots_client_key UNIQUE (job_id, client_key)
);
CREATE INDEX snapshots_by_status ON snapshots (job_id, status, kind, checkpoint_id);
CREATE INDEX snapshots_in_progress ON snapshots (started_ms, id) WHERE status = 'IN_PROGRESS';
CREATE INDEX snapshots_savepoints ON snapshots (started_ms, id) WHERE kind = 'SAVEPOINT';
CREATE INDEX snapshots_by_origin ON snapshots (origin_job_id, started_ms, id);
CREATE INDEX snapshots_deleting ON snapshots (started_ms, id) WHERE status = 'DELETING';

CREATE TABLE snapshot_labels (
    snapshot_id TEXT NOT NULL CONSTRAINT snapshot_labels_snapshot REFERENCES snapshots (id) ON DELETE CASCADE,
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,
    PRIMARY KEY (snapshot_id, key)
);
CREATE INDEX snapshot_labels_by_value ON snapshot_labels (key, value, snapshot_id);

-- Work on a savepoint that takes its time, and its outcome.
CREATE TABLE savepoint_operations (
    id           TEXT NOT NULL PRIMARY KEY,
    snapshot_id  TEXT NOT NULL CONSTRAINT savepoint_operations_snapshot REFERENCES snapshots (id) ON DELETE CASCADE,
    kind         TEXT   NOT NULL CHECK (kind IN ('EXPORT', 'IMPORT', 'VERIFY')),
    status       TEXT   NOT NULL CHECK (status IN ('IN_PROGRESS', 'COMPLETED', 'FAILED')),
    owner        TEXT   NOT NULL,
    -- The request, JSON: what a repeated client key is compared with.
    request      TEXT   NOT NULL,
    bytes_done   BIGINT NOT NULL CHECK (bytes_done >= 0),
    bytes_total  BIGINT,
    -- JSON.
    result       TEXT,
    failure      TEXT,
    started_ms   BIGINT NOT NULL,
    -- Also a sign of life while it is in progress.
    updated_ms   BIGINT NOT NULL,
    ended_ms     BIGINT,
    client_key   TEXT,
    CONSTRAINT savepoint_operations_client_key UNIQUE (client_key)
);
CREATE INDEX savepoint_operations_by_snapshot ON savepoint_operations (snapshot_id, started_ms, id);
CREATE INDEX savepoint_operations_in_progress ON savepoint_operations (updated_ms, id) WHERE status = 'IN_PROGRESS';

CREATE TABLE job_exceptions (
    seq     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    job_id  TEXT   NOT NULL CONSTRAINT job_exceptions_job REFERENCES jobs (id) ON DELETE CASCADE,
    attempt BIGINT NOT NULL CHECK (attempt >= 0),
    at_ms   BIGINT NOT NULL,
    error   TEXT   NOT NULL,
    task    TEXT
);
CREATE INDEX job_exceptions_by_job ON job_exceptions (job_id, seq);

-- Ended checkpoints and savepoints; outlives their rows in snapshots. The columns longest and subtasks: see src/metadata/statistics.rs.
CREATE TABLE checkpoint_statistics (
    job_id         TEXT   NOT NULL CONSTRAINT checkpoint_statistics_job REFERENCES jobs (id) ON DELETE CASCADE,
    checkpoint_id  BIGINT NOT NULL CHECK (checkpoint_id > 0),
    snapshot_id    TEXT   NOT NULL,
    kind           TEXT   NOT NULL CHECK (kind IN ('CHECKPOINT', 'SAVEPOINT')),
    attempt        BIGINT NOT NULL CHECK (attempt >= 0),
    status         TEXT   NOT NULL CHECK (status IN ('COMPLETED', 'FAILED')),
    trigger_reason TEXT   NOT NULL,
    location       TEXT   NOT NULL,
    state_bytes    BIGINT NOT NULL CHECK (state_bytes >= 0),
    uploaded_bytes BIGINT NOT NULL CHECK (uploaded_bytes >= 0),
    stored_bytes   BIGINT NOT NULL CHECK (stored_bytes >= 0),
    started_ms     BIGINT NOT NULL,
    ended_ms       BIGINT,
    failure        TEXT,
    failure_reason TEXT,
    longest        TEXT   NOT NULL,
    subtasks       TEXT   NOT NULL,
    PRIMARY KEY (job_id, checkpoint_id)
);

-- Snapshots that jobs were submitted with and still need: what is held is not deleted.
CREATE TABLE snapshot_holds (
    job_id      TEXT NOT NULL PRIMARY KEY CONSTRAINT snapshot_holds_job REFERENCES jobs (id) ON DELETE CASCADE,
    snapshot_id TEXT NOT NULL,
    mode        TEXT NOT NULL CHECK (mode IN ('NO_CLAIM', 'CLAIM'))
);
CREATE INDEX snapshot_holds_by_snapshot ON snapshot_holds (snapshot_id);
CREATE UNIQUE INDEX snapshot_holds_claim ON snapshot_holds (snapshot_id) WHERE mode = 'CLAIM';

-- What a job was before it was upgraded, and is upgraded to.
CREATE TABLE job_versions (
    job_id     TEXT NOT NULL CONSTRAINT job_versions_job REFERENCES jobs (id) ON DELETE CASCADE,
    version    BIGINT NOT NULL CHECK (version > 0),
    sql        TEXT   NOT NULL,
    plan       TEXT   NOT NULL,
    settings   TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (job_id, version)
);

CREATE TABLE job_upgrades (
    id           TEXT NOT NULL PRIMARY KEY,
    job_id       TEXT NOT NULL CONSTRAINT job_upgrades_job REFERENCES jobs (id) ON DELETE CASCADE,
    from_version BIGINT NOT NULL,
    to_version   BIGINT NOT NULL,
    status       TEXT   NOT NULL CHECK (status IN ('SAVEPOINT', 'STARTING', 'COMPLETED', 'ROLLING_BACK', 'ROLLED_BACK', 'FAILED')),
    allow_non_restored_state BIGINT NOT NULL CHECK (allow_non_restored_state IN (0, 1)),
    limit_ms     BIGINT NOT NULL CHECK (limit_ms > 0),
    -- JSON: what happens to each operator's state.
    operators    TEXT   NOT NULL,
    -- The savepoint that the old version stops with.
    snapshot_id  TEXT,
    location     TEXT,
    failure      TEXT,
    created_ms   BIGINT NOT NULL,
    started_ms   BIGINT,
    start_attempt BIGINT,
    ended_ms     BIGINT,
    CONSTRAINT job_upgrades_version UNIQUE (job_id, to_version)
);
CREATE UNIQUE INDEX job_upgrades_active ON job_upgrades (job_id) WHERE status IN ('SAVEPOINT', 'STARTING', 'ROLLING_BACK');

-- Long actions of the service (fsck, drills): recorded before they begin, with their report for good.
CREATE TABLE actions (
    id         TEXT   NOT NULL PRIMARY KEY,
    kind       TEXT   NOT NULL CHECK (kind IN ('FSCK', 'DRILL')),
    job_id     TEXT   CONSTRAINT actions_job REFERENCES jobs (id) ON DELETE CASCADE,
    owner      TEXT   NOT NULL,
    status     TEXT   NOT NULL CHECK (status IN ('RUNNING', 'COMPLETED', 'FAILED')),
    started_ms BIGINT NOT NULL,
    ended_ms   BIGINT,
    report     TEXT,
    failure    TEXT
);
CREATE INDEX actions_by_kind ON actions (kind, job_id, started_ms, id);
