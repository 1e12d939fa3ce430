//! Starts the subtasks of a job graph and talks to them.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde_json::Value;
use tokio::sync::mpsc;

use super::chain::{Chain, Link, LinkOperator};
use super::channel::{CANCELLED, CancelFlag, Output, Outputs, Partitioner};
use super::collect::CollectWriter;
use super::metrics::{ExecutionMetrics, TaskMetrics};
use super::sink::SinkOperator;
use super::source::{RestoredSource, SourceDriver, SourceParts, ValuesReader};
use super::task::{InputGate, TaskIo, run_inputs, run_source};
use super::{Barrier, CHANNEL_CAPACITY, Control, Element, TaskEvent, TaskId};
use crate::connector::{self, SplitState, TaskContext};
use crate::error::{Error, Result};
use crate::expr::EvalContext;
use crate::graph::{COLLECT, Edge, Exchange, JobGraph, OperatorKind, OperatorSpec, SinkSpec, key_group, late_schema};
use crate::id::{JobId, OperatorId};
use crate::operator::Operator;
use crate::operator::calc::CalcOperator;
use crate::operator::current_watermark::{self, CurrentWatermarkOperator};
use crate::operator::expand::ExpandOperator;
use crate::operator::group_aggregate::GroupAggregateOperator;
use crate::operator::join::{IntervalJoinOperator, JoinOperator, TemporalJoinOperator};
use crate::operator::keep_first::KeepFirstOperator;
use crate::operator::key_hasher::KeyHasher;
use crate::operator::match_recognize::MatchRecognizeOperator;
use crate::operator::replicate::ReplicateOperator;
use crate::operator::session::SessionAggregateOperator;
use crate::operator::session::rows::SessionTableOperator;
use crate::operator::temporal_sort::TemporalSortOperator;
use crate::operator::top_n::TopNOperator;
use crate::operator::unnest::UnnestOperator;
use crate::operator::window_aggregate::WindowAggregateOperator;
use crate::operator::window_join::WindowJoinOperator;
use crate::operator::window_rank::WindowRankOperator;
use crate::operator::window_table::WindowTableOperator;
use crate::state::{RestoredState, SharedMemory, StateContext};
use crate::types::Schema;

/// Stack of a subtask thread, bytes: deep expression trees are evaluated recursively.
const TASK_STACK_BYTES: usize = 8 << 20;

/// An operator's state in a snapshot, ready to be opened.
#[derive(Debug, Clone, Default)]
pub struct RestoredOperator {
    /// Of all old subtasks.
    pub operator_state: Vec<Value>,
    /// Per new subtask, the old images that hold its key groups.
    pub keyed: Vec<Vec<RestoredState>>,
}

/// What to run.
pub struct ExecutionSpec {
    pub job_id: JobId,
    pub attempt: u64,
    pub graph: Arc<JobGraph>,
    pub parallelism: u32,
    pub max_parallelism: u32,
    /// Whether barriers are aligned.
    pub exactly_once: bool,
    /// This attempt's own folder on the working disk.
    pub work_dir: PathBuf,
    /// For the in-memory tables of all operators together, bytes.
    pub memory_bytes: usize,
    pub shared_memory: Arc<SharedMemory>,
    pub restored: HashMap<OperatorId, RestoredOperator>,
    /// Where the rows of a `collect` sink go.
    pub collect: Option<mpsc::Sender<arrow::record_batch::RecordBatch>>,
}

/// A running job graph.
pub struct Execution {
    controls: Vec<Sender<Control>>,
    sources: Vec<TaskId>,
    source_controls: Vec<Sender<Control>>,
    sinks: Vec<TaskId>,
    tasks: Vec<TaskId>,
    cancel: CancelFlag,
    threads: Vec<JoinHandle<()>>,
    metrics: ExecutionMetrics,
}

/// One subtask before its thread runs.
struct TaskSeed {
    task: TaskId,
    /// Each with the operator's input that it belongs to.
    inputs: Vec<(usize, Receiver<Element>)>,
    outputs: Vec<Output>,
    control: Receiver<Control>,
}

impl Execution {
    /// Starts all subtask threads. They open their operators and then report `Running`, or `Failed`; events of all of
    /// them come through `events`.
    pub fn start(spec: ExecutionSpec, events: mpsc::UnboundedSender<TaskEvent>) -> Result<Execution> {
        let parallelisms: Vec<usize> =
            spec.graph.vertices.iter().map(|v| vertex_parallelism(v.parallelism, spec.parallelism)).collect();
        let (inputs, outputs) = connect(&spec, &parallelisms)?;
        let cancel = CancelFlag::default();
        let mut execution = Execution {
            controls: Vec::new(),
            sources: Vec::new(),
            source_controls: Vec::new(),
            sinks: Vec::new(),
            tasks: Vec::new(),
            cancel: cancel.clone(),
            threads: Vec::new(),
            metrics: ExecutionMetrics::default(),
        };
        let mut seeds = Vec::new();
        let mut wires = inputs.into_iter().zip(outputs);
        for (vertex, p) in parallelisms.iter().enumerate() {
            for subtask in 0..*p {
                let (inputs, outputs) = wires.next().expect("one pair per subtask");
                let task = TaskId { vertex, subtask };
                let (sender, control) = unbounded();
                let operators = &spec.graph.vertices[vertex].operators;
                if inputs.is_empty() {
                    execution.sources.push(task);
                    execution.source_controls.push(sender.clone());
                }
                if operators.iter().any(|o| matches!(o.kind, OperatorKind::Sink(_))) {
                    execution.sinks.push(task);
                }
                execution.controls.push(sender);
                execution.tasks.push(task);
                execution.metrics.tasks.push(TaskMetrics::new(task, &spec.graph.vertices[vertex].name));
                seeds.push(TaskSeed { task, inputs, outputs, control });
            }
        }
        let fresh = discover(&spec, &parallelisms)?;
        let spec = Arc::new((spec, fresh));
        for (seed, metrics) in seeds.into_iter().zip(execution.metrics.tasks.clone()) {
            let (spec, events, cancel) = (Arc::clone(&spec), events.clone(), cancel.clone());
            let short = spec.0.job_id.to_string();
            let name = format!("{}-{}-{}", &short[short.len() - 6..], seed.task.vertex, seed.task.subtask);
            let thread = std::thread::Builder::new().name(name).stack_size(TASK_STACK_BYTES);
            let handle = thread.spawn(move || supervise(&spec.0, &spec.1, seed, &events, &cancel, &metrics));
            match handle {
                Ok(handle) => execution.threads.push(handle),
                Err(e) => {
                    execution.cancel.cancel();
                    return Err(Error::unavailable("no_threads", "the system refused another thread").caused_by(&e));
                }
            }
        }
        Ok(execution)
    }

    /// All subtasks, all of which acknowledge a checkpoint.
    pub fn tasks(&self) -> &[TaskId] {
        &self.tasks
    }
    /// The subtasks that read sources.
    pub fn sources(&self) -> &[TaskId] {
        &self.sources
    }
    /// The subtasks that write sinks, all of which confirm a completed checkpoint.
    pub fn sinks(&self) -> &[TaskId] {
        &self.sinks
    }
    /// The figures of all subtasks.
    pub fn metrics(&self) -> &ExecutionMetrics {
        &self.metrics
    }
    /// Lets all sources emit a barrier.
    pub fn trigger(&self, barrier: Barrier) {
        self.tell(&self.source_controls, Control::Trigger(barrier));
    }
    /// Lets all sources behave as if their input had ended.
    pub fn drain(&self) {
        self.tell(&self.source_controls, Control::Drain);
    }
    /// Tells all subtasks that a checkpoint is published.
    pub fn complete(&self, checkpoint_id: u64) {
        self.tell(&self.controls, Control::Complete { checkpoint_id });
    }
    fn tell(&self, to: &[Sender<Control>], message: Control) {
        for sender in to {
            // A subtask that is gone has reported its failure.
            let _ = sender.send(message);
        }
    }
    /// Asks all subtasks to end at once; staged output stays invisible.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
    /// Cancels and waits for all threads. Blocks.
    pub fn join(mut self) {
        self.cancel.cancel();
        for thread in std::mem::take(&mut self.threads) {
            // A panic was caught and reported inside the thread.
            let _ = thread.join();
        }
    }
}

impl Drop for Execution {
    /// Threads must not outlive their job, whatever became of its master.
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// The number of subtasks of a vertex.
pub fn vertex_parallelism(fixed: Option<u32>, job: u32) -> usize {
    usize::try_from(fixed.unwrap_or(job).max(1)).expect("u32 fits usize")
}

type Wires = (Vec<Vec<(usize, Receiver<Element>)>>, Vec<Vec<Output>>);

/// Makes the channels: per subtask (vertices in order) its receivers and its outputs.
fn connect(spec: &ExecutionSpec, parallelisms: &[usize]) -> Result<Wires> {
    let first: Vec<usize> = parallelisms
        .iter()
        .scan(0, |sum, p| {
            let start = *sum;
            *sum += p;
            Some(start)
        })
        .collect();
    let total = parallelisms.iter().sum();
    let mut inputs: Vec<Vec<(usize, Receiver<Element>)>> = (0..total).map(|_| Vec::new()).collect();
    let mut outputs: Vec<Vec<Output>> = (0..total).map(|_| Vec::new()).collect();
    for edge in &spec.graph.edges {
        let (from, to) = (parallelisms[edge.from], parallelisms[edge.to]);
        let pairwise = edge.exchange == Exchange::Forward && from == to;
        for sender in 0..from {
            let receivers: Vec<usize> = match edge.exchange {
                _ if pairwise => vec![sender],
                Exchange::Global => vec![0],
                _ => (0..to).collect(),
            };
            let mut senders = Vec::with_capacity(receivers.len());
            for receiver in receivers {
                let (tx, rx) = bounded(CHANNEL_CAPACITY);
                senders.push(tx);
                inputs[first[edge.to] + receiver].push((edge.input, rx));
            }
            let partitioner = match &edge.exchange {
                Exchange::Hash { keys } if senders.len() > 1 => {
                    let schema = output_of(&spec.graph, edge.from)?;
                    Partitioner::Hash { hasher: KeyHasher::new(schema, keys)?, max_parallelism: spec.max_parallelism }
                }
                Exchange::Forward if senders.len() > 1 => Partitioner::RoundRobin { next: sender % to },
                _ => Partitioner::Single,
            };
            outputs[first[edge.from] + sender].push(Output { senders, partitioner, late: edge.late });
        }
    }
    Ok((inputs, outputs))
}

/// The splits of sources that start without a snapshot.
type FreshSplits = HashMap<OperatorId, Vec<SplitState>>;

/// Lists fresh splits once for all subtasks, so that none is read twice or by nobody.
fn discover(spec: &ExecutionSpec, parallelisms: &[usize]) -> Result<FreshSplits> {
    let mut fresh = HashMap::new();
    for (vertex, parallelism) in spec.graph.vertices.iter().zip(parallelisms) {
        for operator in &vertex.operators {
            if let OperatorKind::Source(source) = &operator.kind
                && !spec.restored.contains_key(&operator.id)
            {
                fresh.insert(operator.id, connector::source(&source.connector)?.discover(source, *parallelism)?);
            }
        }
    }
    Ok(fresh)
}

/// The columns that leave a vertex.
fn output_of(graph: &JobGraph, vertex: usize) -> Result<&Schema> {
    let last = graph.vertices.get(vertex).and_then(|v| v.operators.last());
    last.map(|o| &o.output).ok_or_else(|| Error::internal("a vertex has no operator"))
}

/// The columns of the two inputs of a join.
fn two<'s>(inputs: &[&'s Schema]) -> Result<[&'s Schema; 2]> {
    inputs.try_into().map_err(|_| Error::internal("a join has two inputs"))
}

/// The columns of each input of a vertex.
fn inputs_of(graph: &JobGraph, vertex: usize) -> Result<Vec<&Schema>> {
    let of = |input: usize| graph.edges.iter().find(|e| e.to == vertex && e.input == input);
    let columns = |edge: &Edge| if edge.late { Ok(late_schema()) } else { output_of(graph, edge.from) };
    (0..).map_while(of).map(columns).collect()
}

/// The body of a subtask thread: whatever happens inside ends as at most one event.
fn supervise(
    spec: &ExecutionSpec,
    fresh: &FreshSplits,
    seed: TaskSeed,
    events: &mpsc::UnboundedSender<TaskEvent>,
    cancel: &CancelFlag,
    metrics: &Arc<TaskMetrics>,
) {
    let task = seed.task;
    let mut operator = None;
    let result = catch_unwind(AssertUnwindSafe(|| run(spec, fresh, seed, events, cancel, metrics, &mut operator)));
    let error = match result {
        Ok(Ok(())) => return,
        Ok(Err(error)) if error.code == CANCELLED => return,
        Ok(Err(error)) => error,
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Error::internal(format!("a subtask panicked: {}", text.unwrap_or("no message")))
        }
    };
    // The job may be gone already; then nobody needs to know.
    let _ = events.send(TaskEvent::Failed { task, operator, error });
}

/// Opens and runs a subtask; `failed` is the operator of its error, where known.
fn run(
    spec: &ExecutionSpec,
    fresh: &FreshSplits,
    seed: TaskSeed,
    events: &mpsc::UnboundedSender<TaskEvent>,
    cancel: &CancelFlag,
    metrics: &Arc<TaskMetrics>,
    failed: &mut Option<OperatorId>,
) -> Result<()> {
    let opener = Opener {
        spec,
        fresh,
        cancel,
        task: seed.task,
        parallelism: vertex_parallelism(spec.graph.vertices[seed.task.vertex].parallelism, spec.parallelism),
        context: eval_context(&spec.graph)?,
    };
    let operators = &spec.graph.vertices[seed.task.vertex].operators;
    let (head, rest) = operators.split_first().ok_or_else(|| Error::internal("a vertex has no operator"))?;
    let outputs = Outputs { edges: seed.outputs, cancel: cancel.clone(), metrics: Arc::clone(metrics) };
    let io = TaskIo {
        task: seed.task,
        control: seed.control,
        events: events.clone(),
        cancel: cancel.clone(),
        metrics: Arc::clone(metrics),
    };
    if seed.inputs.is_empty() {
        // Whatever is not another operator's error is the source's.
        *failed = Some(head.id);
        let mut driver = opener.source(head)?;
        let links = opener.links(rest, &[&head.output], failed)?;
        let mut chain = Chain { links, outputs, metrics: Arc::clone(metrics), failed: None };
        let result = run_source(&io, &mut driver, &mut chain);
        *failed = chain.failed.or(Some(head.id));
        result.and(chain.close())
    } else {
        let inputs = inputs_of(&spec.graph, seed.task.vertex)?;
        let links = opener.links(operators, &inputs, failed)?;
        let mut chain = Chain { links, outputs, metrics: Arc::clone(metrics), failed: None };
        let result = run_inputs(&io, &mut InputGate::new(seed.inputs, spec.exactly_once), &mut chain);
        *failed = chain.failed;
        result.and(chain.close())
    }
}

/// The evaluation settings of a graph.
pub fn eval_context(graph: &JobGraph) -> Result<EvalContext> {
    let zone = graph.options.get("table.local-time-zone").map_or("UTC", String::as_str);
    // Flink's word for the machine's zone, which is UTC here.
    let zone = if zone == "default" { "UTC" } else { zone };
    let time_zone = zone.parse().map_err(|_| {
        Error::invalid("unknown_time_zone", format!("'{zone}' is not a time zone; use a name such as 'Europe/Berlin'"))
    })?;
    Ok(EvalContext { time_zone })
}

/// Opens the operators of one subtask.
struct Opener<'a> {
    spec: &'a ExecutionSpec,
    fresh: &'a FreshSplits,
    cancel: &'a CancelFlag,
    task: TaskId,
    parallelism: usize,
    context: EvalContext,
}

impl Opener<'_> {
    fn task_context(&self, operator_id: OperatorId) -> TaskContext {
        TaskContext {
            job_id: self.spec.job_id,
            operator_id,
            attempt: self.spec.attempt,
            subtask: self.task.subtask,
            parallelism: self.parallelism,
        }
    }

    fn operator_state(&self, id: OperatorId) -> &[Value] {
        self.spec.restored.get(&id).map_or(&[], |r| r.operator_state.as_slice())
    }

    fn source(&self, operator: &OperatorSpec) -> Result<SourceDriver> {
        let mut restored = RestoredSource::read(self.operator_state(operator.id))?;
        let place = (self.task.subtask, self.parallelism);
        let parts = match &operator.kind {
            OperatorKind::Source(source) => {
                let connector = connector::source(&source.connector)?;
                if let Some(fresh) = self.fresh.get(&operator.id) {
                    restored.splits.clone_from(fresh);
                }
                let reader = connector.reader(source, &self.task_context(operator.id), restored.splits.clone())?;
                SourceParts {
                    id: operator.id,
                    reader,
                    projection: source.projection.as_deref(),
                    output: &operator.output,
                    watermark: source.watermark.as_ref(),
                    restored,
                    place,
                }
            }
            OperatorKind::Values { rows } => {
                if restored.splits.is_empty() {
                    restored.splits = ValuesReader::fresh();
                }
                let own = if self.task.subtask == 0 { restored.splits.clone() } else { Vec::new() };
                let reader = Box::new(ValuesReader::new(rows, &operator.output, &self.context, own)?);
                SourceParts {
                    id: operator.id,
                    reader,
                    projection: None,
                    output: &operator.output,
                    watermark: None,
                    restored,
                    place,
                }
            }
            _ => return Err(Error::internal("a vertex without inputs must start with a source")),
        };
        SourceDriver::new(parts, &self.context)
    }

    fn links(
        &self,
        operators: &[OperatorSpec],
        inputs: &[&Schema],
        failed: &mut Option<OperatorId>,
    ) -> Result<Vec<Link>> {
        let mut links = Vec::with_capacity(operators.len());
        let mut before: Option<&Schema> = None;
        for operator in operators {
            let link = match before {
                None => self.link(operator, inputs),
                Some(schema) => self.link(operator, &[schema]),
            };
            let link = link.inspect_err(|_| *failed = Some(operator.id))?;
            links.push(Link { id: operator.id, operator: link });
            before = Some(&operator.output);
        }
        Ok(links)
    }

    /// `inputs` are the columns of each input.
    fn link(&self, operator: &OperatorSpec, inputs: &[&Schema]) -> Result<LinkOperator> {
        let input = *inputs.first().ok_or_else(|| Error::internal("an operator has no input"))?;
        let transform: Box<dyn Operator> = match &operator.kind {
            OperatorKind::Calc(calc) if current_watermark::is_used(calc) => {
                let width = input.fields.len();
                Box::new(CurrentWatermarkOperator::new(calc, width, &operator.output, &self.context)?)
            }
            OperatorKind::Calc(calc) => Box::new(CalcOperator::new(calc, &operator.output, &self.context)?),
            OperatorKind::WindowTable(window) if window.window.is_session() => {
                let (state, restored) = (self.state_context(operator), self.operator_state(operator.id));
                Box::new(SessionTableOperator::open(window, input, &operator.output, &state, restored, &self.context)?)
            }
            OperatorKind::WindowTable(window) => {
                Box::new(WindowTableOperator::new(window, &operator.output, &self.context)?)
            }
            OperatorKind::WindowRank(rank) => {
                let (state, restored) = (self.state_context(operator), self.operator_state(operator.id));
                Box::new(WindowRankOperator::open(rank, input, &operator.output, &state, restored, &self.context)?)
            }
            OperatorKind::WindowAggregate(window) if window.input.is_session() => {
                let (state, restored) = (self.state_context(operator), self.operator_state(operator.id));
                let output = &operator.output;
                Box::new(SessionAggregateOperator::open(window, input, output, state, restored, &self.context)?)
            }
            OperatorKind::WindowAggregate(window) => {
                let state = self.state_context(operator);
                Box::new(
                    WindowAggregateOperator::open(
                        window,
                        input,
                        &operator.output,
                        state,
                        self.operator_state(operator.id),
                    )?
                    .with_context(&self.context),
                )
            }
            OperatorKind::MatchRecognize(pattern) => Box::new(MatchRecognizeOperator::open(
                pattern,
                input,
                &operator.output,
                self.state_context(operator),
                &self.context,
                self.operator_state(operator.id),
            )?),
            OperatorKind::TopN(top) => {
                Box::new(TopNOperator::open(top, input, &operator.output, self.state_context(operator))?)
            }
            OperatorKind::KeepFirst(first) => Box::new(KeepFirstOperator::open(
                first,
                input,
                &operator.output,
                self.state_context(operator),
                self.operator_state(operator.id),
            )?),
            OperatorKind::TemporalSort(sort) => Box::new(TemporalSortOperator::open(
                sort,
                input,
                self.state_context(operator),
                self.operator_state(operator.id),
            )?),
            OperatorKind::GroupAggregate(group) => {
                Box::new(GroupAggregateOperator::open(group, input, &operator.output, &self.state_context(operator))?)
            }
            OperatorKind::Expand(expand) => Box::new(ExpandOperator::new(expand, &operator.output, &self.context)?),
            OperatorKind::Replicate(replicate) => Box::new(ReplicateOperator::new(replicate)),
            OperatorKind::Unnest(unnest) => Box::new(UnnestOperator::new(unnest, &operator.output, &self.context)?),
            OperatorKind::WindowJoin(join) => {
                let (state, restored) = (self.state_context(operator), self.operator_state(operator.id));
                let (inputs, output) = (two(inputs)?, &operator.output);
                Box::new(WindowJoinOperator::open(join, inputs, output, &state, restored, &self.context)?)
            }
            OperatorKind::Join(join) => {
                let state = self.state_context(operator);
                Box::new(JoinOperator::open(join, two(inputs)?, &operator.output, &self.context, &state)?)
            }
            OperatorKind::IntervalJoin(join) => Box::new(IntervalJoinOperator::open(
                join,
                two(inputs)?,
                &operator.output,
                &self.context,
                &self.state_context(operator),
                self.operator_state(operator.id),
            )?),
            OperatorKind::TemporalJoin(join) => Box::new(TemporalJoinOperator::open(
                join,
                two(inputs)?,
                &operator.output,
                &self.context,
                &self.state_context(operator),
                self.operator_state(operator.id),
            )?),
            OperatorKind::Sink(sink) => return self.sink(operator, sink, input).map(LinkOperator::Sink),
            OperatorKind::Source(_) | OperatorKind::Values { .. } => {
                return Err(Error::internal("a source cannot have an input"));
            }
        };
        Ok(LinkOperator::Transform(transform))
    }

    fn sink(&self, operator: &OperatorSpec, sink: &SinkSpec, input: &Schema) -> Result<SinkOperator> {
        let writer = match (&self.spec.collect, sink.connector.connector.as_str()) {
            (Some(rows), COLLECT) => Box::new(CollectWriter::new(rows.clone(), self.cancel.clone())),
            _ => connector::sink(&sink.connector)?.writer(sink, input, &self.task_context(operator.id))?,
        };
        SinkOperator::open(writer, &operator.output, self.task.subtask, self.operator_state(operator.id))
    }

    fn state_context(&self, operator: &OperatorSpec) -> StateContext {
        let keyed = self.spec.restored.get(&operator.id).and_then(|r| r.keyed.get(self.task.subtask));
        StateContext {
            dir: self.spec.work_dir.join(format!("{}-{}", operator.id, self.task.subtask)),
            key_groups: key_group::range_of(
                self.task.subtask,
                u32::try_from(self.parallelism).unwrap_or(1),
                self.spec.max_parallelism,
            ),
            max_parallelism: self.spec.max_parallelism,
            memory_budget_bytes: self.spec.memory_bytes / stateful_subtasks(self.spec).max(1),
            shared: Arc::clone(&self.spec.shared_memory),
            restored: keyed.cloned().unwrap_or_default(),
        }
    }
}

/// How many operator subtasks share the job's memory for keyed state.
fn stateful_subtasks(spec: &ExecutionSpec) -> usize {
    let is_stateful = |o: &&OperatorSpec| o.kind.is_keyed();
    spec.graph
        .vertices
        .iter()
        .map(|v| v.operators.iter().filter(is_stateful).count() * vertex_parallelism(v.parallelism, spec.parallelism))
        .sum()
}
