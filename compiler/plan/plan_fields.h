// The fields of every struct of a plan, listed once: fields(visitor, struct) calls visitor(name, field) in order. The JSON
// writer, the JSON reader and the check of ids are visitors. Internal to compiler/plan.
#pragma once

#include <type_traits>

#include "compiler/plan/plan.h"

namespace dsc::plan_fields {

// `s` is const for visitors that only read.
template <class V, class T>
using Of = std::conditional_t<V::kConst, const T, T>;

#define DSC_FIELDS(Type) template <class V> void fields(V& v, Of<V, Type>& s)

// ---- contract ----
DSC_FIELDS(Axis) { v("path", s.path); v("size", s.size); v("source", s.source); v("vocabulary", s.vocabulary); v("products", s.products); }
DSC_FIELDS(Parameter) {
  v("path", s.path); v("axes", s.axes); v("init", s.init); v("init_value", s.init_value); v("decay", s.decay);
  v("product_operand", s.product_operand); v("source", s.source);
}
DSC_FIELDS(Op) {
  v("kind", s.kind); v("operands", s.operands); v("axes", s.axes); v("type", s.type); v("rounded", s.rounded);
  v("parameter", s.parameter); v("number", s.number); v("over", s.over); v("keep", s.keep); v("factors", s.factors);
  v("along", s.along); v("contract", s.contract); v("from", s.from); v("second", s.second); v("to", s.to); v("offset", s.offset);
  v("mask", s.mask); v("window", s.window); v("scale", s.scale); v("theta", s.theta); v("scope", s.scope);
  v("segment", s.segment); v("name", s.name); v("source", s.source);
}
DSC_FIELDS(Scope) { v("parent", s.parent); v("iteration", s.iteration); }
DSC_FIELDS(Model) {
  v("name", s.name); v("axes", s.axes); v("batch", s.batch); v("seq", s.seq); v("parameters", s.parameters); v("ops", s.ops);
  v("scopes", s.scopes); v("loss", s.loss); v("logits", s.logits); v("no_logits_reason", s.no_logits_reason);
  v("vocabulary", s.vocabulary);
}
DSC_FIELDS(DataSource) { v("path", s.path); v("format", s.format); v("source", s.source); }
DSC_FIELDS(Share) { v("numerator", s.numerator); v("denominator", s.denominator); }
DSC_FIELDS(DataSpec) {
  v("train", s.train); v("validation_source", s.validation_source); v("validation_split", s.validation_split);
  v("sequence", s.sequence); v("shuffled", s.shuffled);
}
DSC_FIELDS(LearningRate) { v("kind", s.kind); v("peak", s.peak); v("floor", s.floor); v("warmup", s.warmup); }
DSC_FIELDS(Optimizer) {
  v("kind", s.kind); v("rate", s.rate); v("beta1", s.beta1); v("beta2", s.beta2); v("eps", s.eps); v("momentum", s.momentum);
  v("weight_decay", s.weight_decay);
}
DSC_FIELDS(LossScale) {
  v("dynamic", s.dynamic); v("init", s.init); v("window", s.window); v("hysteresis", s.hysteresis); v("min", s.min);
}
DSC_FIELDS(TrainSpec) {
  v("steps", s.steps); v("batch", s.batch); v("optimizer", s.optimizer); v("activation", s.activation);
  v("loss_scale", s.loss_scale); v("reduce", s.reduce); v("clip_norm", s.clip_norm); v("seed", s.seed);
  v("checkpoint_every", s.checkpoint_every); v("checkpoint_to", s.checkpoint_to); v("checkpoint_keep", s.checkpoint_keep);
  v("evaluate_every", s.evaluate_every); v("evaluate_batches", s.evaluate_batches); v("skip_nonfinite", s.skip_nonfinite);
  v("init_pretrained", s.init_pretrained);
}
DSC_FIELDS(MeshAxis) { v("name", s.name); v("size", s.size); v("source", s.source); }
DSC_FIELDS(AutoChoice) { v("key", s.key); v("value", s.value); v("reason", s.reason); }
DSC_FIELDS(LayoutSpec) {
  v("name", s.name); v("mesh", s.mesh); v("batch_axes", s.batch_axes); v("zero_stage", s.zero_stage); v("stage_auto", s.stage_auto);
  v("micro_batch", s.micro_batch); v("wire_bf16", s.wire_bf16); v("overlap", s.overlap); v("bucket", s.bucket);
  v("prefetch", s.prefetch); v("persist_below", s.persist_below); v("max_live", s.max_live);
  v("reuse_distance", s.reuse_distance); v("source", s.source); v("zero_source", s.zero_source);
  v("batch_split_source", s.batch_split_source);
}
DSC_FIELDS(ExportPiece) {
  v("parameter", s.parameter); v("permutation", s.permutation); v("shape", s.shape); v("indexed_axis", s.indexed_axis);
  v("index", s.index);
}
DSC_FIELDS(ExportTensor) { v("names", s.names); v("pieces", s.pieces); v("dim", s.dim); }
DSC_FIELDS(ExportConfigEntry) { v("keys", s.keys); v("json", s.json); v("compared", s.compared); }
DSC_FIELDS(ExportMap) {
  v("present", s.present); v("architecture", s.architecture); v("config", s.config); v("tensors", s.tensors);
  v("ignored", s.ignored);
}
DSC_FIELDS(Contract) {
  v("model", s.model); v("data", s.data); v("train", s.train); v("layout", s.layout); v("exports", s.exports); v("autos", s.autos);
}

// ---- kernels ----
DSC_FIELDS(MapInstruction) {
  v("op", s.op); v("result", s.result); v("a", s.a); v("b", s.b); v("c", s.c); v("slot", s.slot); v("number", s.number);
  v("type", s.type); v("per_row", s.per_row);
}
DSC_FIELDS(MapProgram) { v("registers", s.registers); v("code", s.code); }
DSC_FIELDS(MapWindow) { v("lo", s.lo); v("hi", s.hi); }
DSC_FIELDS(MapInput) { v("type", s.type); v("strides", s.strides); v("offset", s.offset); v("windows", s.windows); }
DSC_FIELDS(MapOutput) { v("type", s.type); v("strides", s.strides); v("offset", s.offset); v("accumulate", s.accumulate); }
DSC_FIELDS(MapSpec) {
  v("outer", s.outer); v("reduced", s.reduced); v("inner", s.inner); v("inputs", s.inputs); v("outputs", s.outputs);
  v("program", s.program);
}
DSC_FIELDS(ProductDim) { v("size", s.size); v("a_stride", s.a_stride); v("b_stride", s.b_stride); }
DSC_FIELDS(ProductSpec) {
  v("batch", s.batch); v("m", s.m); v("n", s.n); v("k", s.k); v("a_type", s.a_type); v("b_type", s.b_type); v("a_m", s.a_m);
  v("a_k", s.a_k); v("a_offset", s.a_offset); v("b_k", s.b_k); v("b_n", s.b_n); v("b_offset", s.b_offset);
  v("epilogue", s.epilogue); v("inputs", s.inputs); v("outputs", s.outputs);
}
DSC_FIELDS(AttendDim) {
  v("size", s.size); v("q_stride", s.q_stride); v("k_stride", s.k_stride); v("v_stride", s.v_stride);
  v("out_stride", s.out_stride); v("shared", s.shared);
}
DSC_FIELDS(AttendSpec) {
  v("batch", s.batch); v("length", s.length); v("qk_size", s.qk_size); v("v_size", s.v_size); v("q_along", s.q_along);
  v("k_along", s.k_along); v("v_along", s.v_along); v("out_along", s.out_along); v("q_channel", s.q_channel);
  v("k_channel", s.k_channel); v("v_channel", s.v_channel); v("out_channel", s.out_channel); v("q_offset", s.q_offset);
  v("k_offset", s.k_offset); v("v_offset", s.v_offset); v("mask", s.mask); v("window", s.window); v("scale", s.scale);
  v("type", s.type); v("out_type", s.out_type);
}
DSC_FIELDS(AttendForwardSpec) { v("attend", s.attend); }
DSC_FIELDS(AttendBackwardSpec) { v("attend", s.attend); v("gradient_type", s.gradient_type); }
DSC_FIELDS(LookupSpec) {
  v("rows", s.rows); v("entries", s.entries); v("width", s.width); v("entry_stride", s.entry_stride);
  v("element_stride", s.element_stride); v("table_offset", s.table_offset); v("table_type", s.table_type);
  v("out_type", s.out_type);
}
DSC_FIELDS(LookupBackwardSpec) {
  v("rows", s.rows); v("entries", s.entries); v("width", s.width); v("entry_stride", s.entry_stride);
  v("element_stride", s.element_stride); v("dout_type", s.dout_type); v("accumulate", s.accumulate);
}
DSC_FIELDS(CrossEntropySpec) {
  v("rows", s.rows); v("entries", s.entries); v("x_type", s.x_type); v("dx_type", s.dx_type); v("scale", s.scale);
  v("seed_factor", s.seed_factor); v("backward", s.backward);
}
DSC_FIELDS(ClassifierSpec) {
  v("rows", s.rows); v("entries", s.entries); v("width", s.width); v("rows_per_chunk", s.rows_per_chunk);
  v("entry_stride", s.entry_stride); v("element_stride", s.element_stride); v("h_type", s.h_type); v("w_type", s.w_type);
  v("dh_type", s.dh_type); v("scale", s.scale); v("seed_factor", s.seed_factor); v("backward", s.backward);
}
DSC_FIELDS(RotateSpec) {
  v("sizes", s.sizes); v("x_strides", s.x_strides); v("along", s.along); v("pairs", s.pairs); v("x_offset", s.x_offset);
  v("theta", s.theta); v("inverse", s.inverse); v("x_type", s.x_type); v("out_type", s.out_type);
}
DSC_FIELDS(ReadBatchSpec) { v("rows", s.rows); v("sequence", s.sequence); v("validation", s.validation); }
DSC_FIELDS(BeginStepSpec) { (void)v; (void)s; }
DSC_FIELDS(SquareSumSpec) {
  v("pieces", s.pieces); v("elements", s.elements); v("column", s.column); v("table_stride", s.table_stride);
}
DSC_FIELDS(AddLossSpec) { v("first", s.first); }
DSC_FIELDS(ControlSpec) {
  v("pieces", s.pieces); v("parameters", s.parameters); v("ranks", s.ranks); v("micro_batches", s.micro_batches);
}
DSC_FIELDS(UpdateSpec) { v("elements", s.elements); v("decay", s.decay); v("used_type", s.used_type); }

// ---- plan ----
DSC_FIELDS(Buffer) {
  v("name", s.name); v("role", s.role); v("cls", s.cls); v("type", s.type); v("elements", s.elements); v("bytes", s.bytes);
  v("offset", s.offset); v("persistent", s.persistent); v("op", s.op); v("parameter", s.parameter); v("segment", s.segment);
  v("source", s.source);
}
DSC_FIELDS(BufferUse) {
  v("buffer", s.buffer); v("offset", s.offset); v("rank_stride", s.rank_stride); v("bytes", s.bytes);
}
DSC_FIELDS(CollectivePart) { v("from", s.from); v("to", s.to); v("piece_elements", s.piece_elements); v("type", s.type); }
DSC_FIELDS(CollectiveSpec) {
  v("kind", s.kind); v("mesh_axes", s.mesh_axes); v("wire_bf16", s.wire_bf16); v("parts", s.parts); v("cause", s.cause);
}
DSC_FIELDS(Performed) { v("pass", s.pass); v("op", s.op); v("operand", s.operand); }
DSC_FIELDS(Instruction) {
  v("name", s.name); v("engine", s.engine); v("op", s.op); v("inputs", s.inputs); v("outputs", s.outputs);
  v("workspace", s.workspace); v("waits", s.waits); v("performs", s.performs); v("source", s.source);
}
DSC_FIELDS(Section) {
  v("name", s.name); v("first_micro_batch", s.first_micro_batch); v("iterations", s.iterations);
  v("instructions", s.instructions);
}
DSC_FIELDS(Program) { v("name", s.name); v("sections", s.sections); }
DSC_FIELDS(PlanSource) { v("name", s.name); v("text", s.text); }
DSC_FIELDS(MemorySummary) {
  v("device_arena", s.device_arena); v("packed", s.packed); v("lower_bound", s.lower_bound); v("persistent", s.persistent);
  v("host_arena", s.host_arena); v("storage", s.storage);
}
DSC_FIELDS(Target) {
  v("name", s.name); v("fingerprint", s.fingerprint); v("alignment", s.alignment); v("page", s.page); v("capacity", s.capacity);
  v("lanes", s.lanes); v("tile_m", s.tile_m); v("tile_n", s.tile_n); v("block_k", s.block_k);
  v("bf16_products", s.bf16_products); v("bf16x3", s.bf16x3); v("vector", s.vector); v("slow_columns", s.slow_columns); v("chunk", s.chunk);
}
DSC_FIELDS(Plan) {
  v("version", s.version); v("hash", s.hash); v("compiler_version", s.compiler_version); v("target", s.target);
  v("sources", s.sources); v("sets", s.sets); v("source_folder", s.source_folder); v("contract", s.contract);
  v("buffers", s.buffers); v("programs", s.programs); v("memory", s.memory);
}

#undef DSC_FIELDS

// ---- enumerations: their names in order ----
template <class E>
struct Names;
#define DSC_NAMES(E, ...) \
  template <>             \
  struct Names<E> { static constexpr const char* list[] = {__VA_ARGS__}; };
DSC_NAMES(DType, "f32", "bf16", "f16", "i32", "f64", "u8")
DSC_NAMES(InitKind, "zeros", "ones", "normal", "uniform")
DSC_NAMES(ValueType, "real", "integer", "boolean", "loss")
DSC_NAMES(Mask, "causal", "full", "window")
DSC_NAMES(TokenFormat, "bytes", "u16", "u32")
DSC_NAMES(ScheduleKind, "constant", "linear", "cosine")
DSC_NAMES(OptimizerKind, "adamw", "sgd")
DSC_NAMES(Reduce, "once", "each")
DSC_NAMES(MapOpcode, "load", "constant", "position", "add", "subtract", "multiply", "divide", "power", "negate", "exp", "log",
          "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "sin", "cos", "absolute", "maximum", "minimum", "less", "less_equal",
          "greater", "greater_equal", "equal", "not_equal", "select", "round", "inner_sum", "inner_max", "store", "reduce_sum",
          "reduce_max")
DSC_NAMES(Pass, "forward", "recompute", "gradient", "total")
DSC_NAMES(OpKind, "parameter", "tokens", "targets", "positions", "constant", "add", "subtract", "multiply", "divide", "power",
          "negate", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "sin", "cos", "absolute", "maximum", "minimum",
          "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "select", "to_real", "sum", "mean", "max",
          "rename", "expand", "merge", "unmerge", "slice", "concat", "stop_gradient", "round", "dot", "attend", "lookup",
          "rotate", "cross_entropy")
DSC_NAMES(BufferClass, "parameters", "gradients", "optimizer", "activations", "gathered", "workspace")
DSC_NAMES(BufferRole, "parameter", "parameter_piece", "master", "master_piece", "moment1", "moment2", "moment1_piece",
          "moment2_piece", "state", "gathered", "gradient", "gradient_piece", "tokens", "targets", "value", "value_gradient",
          "contribution", "statistics", "loss", "norm_table", "loss_table", "workspace")
DSC_NAMES(Engine, "compute", "communication", "storage")
DSC_NAMES(CollectiveKind, "all_gather", "reduce_scatter", "all_reduce")
#undef DSC_NAMES
static_assert(std::size(Names<OpKind>::list) == static_cast<std::size_t>(OpKind::cross_entropy) + 1);
static_assert(std::size(Names<MapOpcode>::list) == static_cast<std::size_t>(MapOpcode::reduce_max) + 1);
static_assert(std::size(Names<BufferRole>::list) == static_cast<std::size_t>(BufferRole::workspace) + 1);

}  // namespace dsc::plan_fields
