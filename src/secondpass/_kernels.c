/* Transformer layers in 8 bits on AVX-512 VNNI: the arithmetic of secondpass/native.py.
 *
 * Tokens of many texts lie one after another, without padding: `starts` says where each text begins. Weights are
 * int8 with one scale for each output, activations int8 with a scale and an offset for each token, so what a text
 * gives never depends on the texts beside it, and the sums in between are exact integers. Attention, softmax,
 * GELU and layer norm are float32. One call runs on one thread and lets go of the interpreter's lock.
 *
 *   linear(weight int8 [inputs, outputs], scale [outputs], bias [outputs]) -> Linear
 *   layer(qkv, out, up, down, norms float32 [4, width], heads, epsilon) -> Layer     a post-norm BERT layer
 *   run(layer, states float32 [tokens, width], starts int32 [texts + 1], others, other_starts)   states change in place
 *   norm(states, weight_and_bias float32 [2, width], epsilon)                         in place
 *   pool(states, starts, words float32 [n, width], sums [texts, width], best [texts, n])
 *   signs(bits uint8 [tokens, width / 8], starts, words float32 [n, width], best [texts, n], width)
 *   supported() -> bool
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define HAVE_KERNELS 1
#include <immintrin.h>
#else
#define HAVE_KERNELS 0
#endif

#if HAVE_KERNELS

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define INLINE static inline __attribute__((always_inline)) AVX512
#define FUNC static __attribute__((noinline)) AVX512

enum {
    LANES = 16,       /* float32 in a register */
    PANEL = 64,       /* outputs that one pass over the inputs makes: four registers */
    TILE = 6,         /* tokens beside them: 24 of the 32 registers hold sums */
    BLOCK = 96,       /* tokens that pass through the feed-forward part together: their states stay in the L2 cache */
    MAX_OFFSET = 128, /* weights are stored as unsigned bytes, 128 up, since the instruction wants one unsigned side */
};

typedef struct {
    int inputs, outputs;   /* multiples of 4 and of PANEL */
    uint8_t *packed;       /* [outputs / PANEL][inputs / 4][PANEL][4], 128 up */
    float *scale, *bias;   /* [outputs] */
    float *sum;            /* [outputs], of the weights over the inputs */
} Linear;

typedef struct {
    const Linear *qkv, *out, *up, *down;
    PyObject *owners[4];
    float *norms;          /* [4][width]: weight and bias after attention, weight and bias after feed-forward */
    int width, heads;
    float epsilon;
} Layer;

typedef struct {
    int8_t *values;        /* [tokens][inputs] */
    float *scale, *offset; /* [tokens]: x = scale * (value - offset) */
    int32_t *sum;          /* [tokens], of the values */
    int inputs;
} Quantised;

/* Sums have names, not indices: compilers keep an array of them in memory instead of registers. `rows` is a constant
 * wherever these are used, so that the rows that are not wanted cost nothing. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)

static void *grab(size_t bytes) {
    return aligned_alloc(64, (bytes + 127) / 64 * 64);
}

/* ---- small vector functions ---- */

/* exp(x) for x <= 0: 2^n p(r), p the Taylor polynomial of degree 6 on |r| <= ln(2) / 2; relative error below 5e-7 where
 * the result matters. Far below zero scalef gives 0. */
INLINE __m512 exp16(__m512 x) {
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693147181f), x);
    __m512 p = _mm512_set1_ps(1.0f / 720);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

/* x * (1 + erf(x / sqrt 2)) / 2. erf(z) = z p(t) for z <= 3.3, t = 2 (z / 3.3)^2 - 1, and as at 3.3 beyond; p is the
 * polynomial of degree 10 that fits erf(z) / z at 4,000 Chebyshev nodes. The result is off by 7e-6 at most, and is cut
 * into 255 steps next. */
INLINE __m512 gelu16(__m512 x) {
    static const float P[11] = {0.428135782f,   -0.211641446f, 0.15206179f,   -0.114477411f,   0.084206149f,  -0.0591647923f,
                                0.0362796997f, -0.0179817192f, 0.01152501f, -0.0093987491f, 0.00348566659f};
    __m512 z = _mm512_min_ps(_mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.707106781f)), _mm512_set1_ps(3.3f));
    __m512 t = _mm512_fmsub_ps(_mm512_mul_ps(z, z), _mm512_set1_ps(2 / (3.3f * 3.3f)), _mm512_set1_ps(1.0f));
    __m512 p = _mm512_set1_ps(P[10]);
#pragma GCC unroll 10
    for (int i = 9; i >= 0; i--)
        p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(P[i]));
    __m512 half = _mm512_mul_ps(x, _mm512_set1_ps(0.5f));
    return _mm512_fmadd_ps(_mm512_abs_ps(half), _mm512_mul_ps(z, p), half); /* erf is odd: x erf(x) = |x| erf(|x|) */
}

/* One token to int8: the range of its values is cut into 255 steps. */
FUNC void quantise_token(const float *x, int inputs, int8_t *values, float *scale, float *offset, int32_t *sum) {
    __m512 least = _mm512_loadu_ps(x), most = least;
    for (int i = LANES; i < inputs; i += LANES) {
        __m512 v = _mm512_loadu_ps(x + i);
        least = _mm512_min_ps(least, v);
        most = _mm512_max_ps(most, v);
    }
    float low = _mm512_reduce_min_ps(least), range = _mm512_reduce_max_ps(most) - low;
    float step = range > 1e-20f ? range / 255.0f : 1.0f; /* all equal: every value is 0, the offset says it all */
    float at = range > 1e-20f ? -128.0f - low / step : -low;
    __m512 inverse = _mm512_set1_ps(range > 1e-20f ? 1.0f / step : 1.0f), shift = _mm512_set1_ps(at);
    __m512i total = _mm512_setzero_si512();
    for (int i = 0; i < inputs; i += LANES) {
        __m512i q = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_loadu_ps(x + i), inverse, shift));
        __m128i bytes = _mm512_cvtsepi32_epi8(q);
        _mm_storeu_si128((__m128i *)(values + i), bytes);
        total = _mm512_add_epi32(total, _mm512_cvtepi8_epi32(bytes));
    }
    *scale = step;
    *offset = at;
    *sum = _mm512_reduce_add_epi32(total);
}

static void quantise(const float *x, int tokens, Quantised *q) {
    for (int t = 0; t < tokens; t++)
        quantise_token(x + (size_t)t * q->inputs, q->inputs, q->values + (size_t)t * q->inputs, q->scale + t,
                       q->offset + t, q->sum + t);
}

/* (x + change) -> layer norm -> x, for one token */
FUNC void add_norm(float *x, const float *change, const float *weight, const float *bias, int width, float epsilon) {
    __m512 sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (int i = 0; i < width; i += LANES) {
        __m512 v = _mm512_loadu_ps(x + i);
        if (change)
            v = _mm512_add_ps(v, _mm512_loadu_ps(change + i));
        _mm512_storeu_ps(x + i, v);
        sum = _mm512_add_ps(sum, v);
    }
    float mean = _mm512_reduce_add_ps(sum) / width;
    for (int i = 0; i < width; i += LANES) {
        __m512 v = _mm512_sub_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(mean));
        squares = _mm512_fmadd_ps(v, v, squares);
    }
    float spread = 1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(squares) / width + epsilon);
    for (int i = 0; i < width; i += LANES) {
        __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(mean)), _mm512_set1_ps(spread));
        _mm512_storeu_ps(x + i, _mm512_fmadd_ps(v, _mm512_loadu_ps(weight + i), _mm512_loadu_ps(bias + i)));
    }
}

/* ---- linear maps ---- */

/* Sums of `rows` tokens by PANEL outputs back to float32. */
FUNC void finish(const Linear *map, const Quantised *q, int token, int column, const int32_t *sums, float *to, int stride,
                 int gelu, int rows) {
    for (int r = 0; r < rows; r++, token++) {
        __m512i excess = _mm512_set1_epi32(MAX_OFFSET * q->sum[token]);
        __m512 offset = _mm512_set1_ps(q->offset[token]), scale = _mm512_set1_ps(q->scale[token]);
        for (int j = 0; j < PANEL; j += LANES) {
            __m512 y = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_load_si512(sums + r * PANEL + j), excess));
            y = _mm512_mul_ps(_mm512_fnmadd_ps(offset, _mm512_loadu_ps(map->sum + column + j), y), scale);
            y = _mm512_fmadd_ps(y, _mm512_loadu_ps(map->scale + column + j), _mm512_loadu_ps(map->bias + column + j));
            _mm512_storeu_ps(to + (size_t)r * stride + j, gelu ? gelu16(y) : y);
        }
    }
}

/* `rows` tokens (a constant) times one panel of outputs. */
INLINE void tile(const Linear *map, const Quantised *q, int token, int panel, float *to, int stride, int gelu,
                 const int rows) {
    int inputs = map->inputs;
    const uint8_t *weight = map->packed + (size_t)panel * inputs * PANEL;
    const int8_t *from = q->values + (size_t)token * inputs;
#define ZERO(r) __m512i s##r##0 = _mm512_setzero_si512(), s##r##1 = s##r##0, s##r##2 = s##r##0, s##r##3 = s##r##0;
#define STEP(r)                                                                                                        \
    if (r < rows) {                                                                                                    \
        memcpy(&four, from + (size_t)r * inputs + i, 4);                                                               \
        __m512i x = _mm512_set1_epi32(four);                                                                           \
        s##r##0 = _mm512_dpbusd_epi32(s##r##0, w0, x), s##r##1 = _mm512_dpbusd_epi32(s##r##1, w1, x);                  \
        s##r##2 = _mm512_dpbusd_epi32(s##r##2, w2, x), s##r##3 = _mm512_dpbusd_epi32(s##r##3, w3, x);                  \
    }
#define STORE(r)                                                                                                       \
    if (r < rows) {                                                                                                    \
        _mm512_store_si512(sums + r * PANEL, s##r##0), _mm512_store_si512(sums + r * PANEL + 16, s##r##1);             \
        _mm512_store_si512(sums + r * PANEL + 32, s##r##2), _mm512_store_si512(sums + r * PANEL + 48, s##r##3);        \
    }
    EACH_ROW(ZERO)
    for (int i = 0; i < inputs; i += 4, weight += 4 * PANEL) {
        __m512i w0 = _mm512_load_si512(weight), w1 = _mm512_load_si512(weight + 64);
        __m512i w2 = _mm512_load_si512(weight + 128), w3 = _mm512_load_si512(weight + 192);
        int32_t four;
        EACH_ROW(STEP)
    }
    int32_t sums[TILE * PANEL] __attribute__((aligned(64)));
    EACH_ROW(STORE)
    finish(map, q, token, panel * PANEL, sums, to, stride, gelu, rows);
#undef ZERO
#undef STEP
#undef STORE
}

/* Tokens [0, tokens) times panels [first, last) into `to` [tokens][stride]. */
FUNC void multiply(const Linear *map, const Quantised *q, int tokens, int first, int last, float *to, int stride,
                   int gelu) {
    for (int panel = first; panel < last; panel++) {
        float *out = to + (size_t)(panel - first) * PANEL;
        int t = 0;
        for (; t + TILE <= tokens; t += TILE)
            tile(map, q, t, panel, out + (size_t)t * stride, stride, gelu, TILE);
        switch (tokens - t) {
        case 5: tile(map, q, t, panel, out + (size_t)t * stride, stride, gelu, 5); break;
        case 4: tile(map, q, t, panel, out + (size_t)t * stride, stride, gelu, 4); break;
        case 3: tile(map, q, t, panel, out + (size_t)t * stride, stride, gelu, 3); break;
        case 2: tile(map, q, t, panel, out + (size_t)t * stride, stride, gelu, 2); break;
        case 1: tile(map, q, t, panel, out + (size_t)t * stride, stride, gelu, 1); break;
        }
    }
}

/* ---- attention ---- */

/* `rows` queries against `keys` keys of one head: unnormalised softmax weights, and one over their sum. */
INLINE void weigh(const float *query, int stride, const float *across, int keys, int padded, int size,
                  float scale, float *weights, float *inverse, const int rows) {
#define ZERO(r) __m512 s##r##0 = _mm512_setzero_ps(), s##r##1 = s##r##0, s##r##2 = s##r##0, s##r##3 = s##r##0;
#define STEP(r)                                                                                                        \
    if (r < rows) {                                                                                                    \
        __m512 x = _mm512_set1_ps(query[(size_t)r * stride + d]);                                                      \
        s##r##0 = _mm512_fmadd_ps(x, k0, s##r##0), s##r##1 = _mm512_fmadd_ps(x, k1, s##r##1);                          \
        s##r##2 = _mm512_fmadd_ps(x, k2, s##r##2), s##r##3 = _mm512_fmadd_ps(x, k3, s##r##3);                          \
    }
#define STORE(r)                                                                                                       \
    if (r < rows) {                                                                                                    \
        float *row = weights + (size_t)r * padded + k;                                                                 \
        _mm512_store_ps(row, s##r##0), _mm512_store_ps(row + 16, s##r##1);                                             \
        _mm512_store_ps(row + 32, s##r##2), _mm512_store_ps(row + 48, s##r##3);                                        \
    }
    for (int k = 0; k < padded; k += PANEL) {
        EACH_ROW(ZERO)
        for (int d = 0; d < size; d++) {
            const float *row = across + (size_t)d * padded + k;
            __m512 k0 = _mm512_load_ps(row), k1 = _mm512_load_ps(row + 16);
            __m512 k2 = _mm512_load_ps(row + 32), k3 = _mm512_load_ps(row + 48);
            EACH_ROW(STEP)
        }
        EACH_ROW(STORE)
    }
#undef ZERO
#undef STEP
#undef STORE
    for (int r = 0; r < rows; r++) {
        float *row = weights + (size_t)r * padded;
        __m512 most = _mm512_set1_ps(-3e38f), sum = _mm512_setzero_ps();
        for (int k = 0; k < keys; k += LANES) {
            __mmask16 there = keys - k >= LANES ? 0xffff : (__mmask16)((1u << (keys - k)) - 1);
            most = _mm512_mask_max_ps(most, there, most, _mm512_load_ps(row + k));
        }
        __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(most) * scale);
        for (int k = 0; k < keys; k += LANES) {
            __mmask16 there = keys - k >= LANES ? 0xffff : (__mmask16)((1u << (keys - k)) - 1);
            __m512 e = exp16(_mm512_fmsub_ps(_mm512_load_ps(row + k), _mm512_set1_ps(scale), top));
            e = _mm512_maskz_mov_ps(there, e);
            _mm512_store_ps(row + k, e);
            sum = _mm512_add_ps(sum, e);
        }
        inverse[r] = 1.0f / _mm512_reduce_add_ps(sum);
    }
}

/* `rows` rows of weights times the values of one head, `lanes` registers wide. */
INLINE void gather_values(const float *weights, int padded, const float *inverse, const float *values, int keys,
                          int size, float *to, int stride, const int rows) {
#define ZERO(r) __m512 s##r##0 = _mm512_setzero_ps(), s##r##1 = s##r##0;
#define STEP(r)                                                                                                        \
    if (r < rows) {                                                                                                    \
        __m512 w = _mm512_set1_ps(weights[(size_t)r * padded + k]);                                                    \
        s##r##0 = _mm512_fmadd_ps(w, v0, s##r##0), s##r##1 = _mm512_fmadd_ps(w, v1, s##r##1);                          \
    }
#define STORE(r)                                                                                                       \
    if (r < rows) {                                                                                                    \
        __m512 by = _mm512_set1_ps(inverse[r]);                                                                        \
        _mm512_storeu_ps(to + (size_t)r * stride + d, _mm512_mul_ps(s##r##0, by));                                     \
        _mm512_storeu_ps(to + (size_t)r * stride + d + 16, _mm512_mul_ps(s##r##1, by));                                \
    }
    for (int d = 0; d < size; d += 2 * LANES) {
        EACH_ROW(ZERO)
        for (int k = 0; k < keys; k++) {
            __m512 v0 = _mm512_load_ps(values + (size_t)k * size + d);
            __m512 v1 = _mm512_load_ps(values + (size_t)k * size + d + LANES);
            EACH_ROW(STEP)
        }
        EACH_ROW(STORE)
    }
#undef ZERO
#undef STEP
#undef STORE
}

INLINE void attend_rows(const float *query, int stride, const float *across, const float *values, int keys, int padded,
                        int size, float scale, float *weights, float *to, int width, const int rows) {
    float inverse[TILE];
    weigh(query, stride, across, keys, padded, size, scale, weights, inverse, rows);
    gather_values(weights, padded, inverse, values, keys, size, to, width, rows);
}

/* Copy `count` keys (as columns) and values (as rows) of one head to their place behind `at` others. */
FUNC void collect(const float *key, const float *value, int stride, int count, int size, int at, int padded,
                  float *across, float *values) {
    for (int t = 0; t < count; t++) {
        const float *k = key + (size_t)t * stride;
        for (int d = 0; d < size; d++)
            across[(size_t)d * padded + at + t] = k[d];
        memcpy(values + (size_t)(at + t) * size, value + (size_t)t * stride, sizeof(float) * size);
    }
}

typedef struct {
    const float *own;    /* [tokens][3 * width]: queries, keys, values */
    const float *others; /* [others][2 * width]: keys, values; or NULL */
} Projected;

/* All heads of one text: its tokens read its own and the other tokens. */
FUNC void attend(const Layer *layer, const float *own, int tokens, const float *others, int other_tokens,
                 float *across, float *values, float *weights, float *to) {
    int width = layer->width, size = width / layer->heads, keys = tokens + other_tokens;
    int padded = (keys + PANEL - 1) / PANEL * PANEL;
    float scale = 1.0f / __builtin_sqrtf((float)size);
    for (int d = 0; d < size; d++) /* columns behind the last key are computed, and never read */
        memset(across + (size_t)d * padded + keys, 0, sizeof(float) * (padded - keys));
    for (int h = 0; h < layer->heads; h++) {
        int at = h * size;
        collect(own + width + at, own + 2 * width + at, 3 * width, tokens, size, 0, padded, across, values);
        if (other_tokens)
            collect(others + at, others + width + at, 2 * width, other_tokens, size, tokens, padded, across, values);
        int t = 0;
        const float *query = own + at;
        for (; t + TILE <= tokens; t += TILE)
            attend_rows(query + (size_t)t * 3 * width, 3 * width, across, values, keys, padded, size, scale, weights,
                        to + (size_t)t * width + at, width, TILE);
        for (; t < tokens; t++)
            attend_rows(query + (size_t)t * 3 * width, 3 * width, across, values, keys, padded, size, scale, weights,
                        to + (size_t)t * width + at, width, 1);
    }
}

/* ---- one layer ---- */

static int quantised_room(Quantised *q, int tokens, int inputs) {
    q->inputs = inputs;
    q->values = grab((size_t)tokens * inputs);
    q->scale = grab(sizeof(float) * tokens * 3);
    if (!q->values || !q->scale)
        return 0;
    q->offset = q->scale + tokens;
    q->sum = (int32_t *)(q->offset + tokens);
    return 1;
}

static int longest(const int32_t *starts, int texts) {
    int most = 0;
    for (int i = 0; i < texts; i++)
        if (starts[i + 1] - starts[i] > most)
            most = starts[i + 1] - starts[i];
    return most;
}

/* Returns 0 where there was no memory. */
static int run_layer(const Layer *layer, float *states, const int32_t *starts, int texts, const float *others,
                     const int32_t *other_starts) {
    int width = layer->width, inner = layer->up->outputs, tokens = starts[texts];
    int other_tokens = others ? other_starts[texts] : 0, most = tokens > other_tokens ? tokens : other_tokens;
    int keys = longest(starts, texts) + (others ? longest(other_starts, texts) : 0) + PANEL;
    int size = width / layer->heads, block = tokens < BLOCK ? tokens : BLOCK;
    Quantised in = {0}, hidden = {0};
    int enough = quantised_room(&in, most, width) && quantised_room(&hidden, block, inner);
    float *own = grab(sizeof(float) * tokens * 3 * width), *theirs = grab(sizeof(float) * (other_tokens + 1) * 2 * width);
    float *read = grab(sizeof(float) * tokens * width), *wide = grab(sizeof(float) * block * inner);
    float *across = grab(sizeof(float) * keys * size), *values = grab(sizeof(float) * keys * size);
    float *weights = grab(sizeof(float) * keys * TILE);
    enough = enough && own && theirs && read && wide && across && values && weights;
    if (enough) {
        int third = width / PANEL;
        if (others) {
            quantise(others, other_tokens, &in);
            multiply(layer->qkv, &in, other_tokens, third, 3 * third, theirs, 2 * width, 0);
        }
        quantise(states, tokens, &in);
        multiply(layer->qkv, &in, tokens, 0, 3 * third, own, 3 * width, 0);
        for (int i = 0; i < texts; i++) {
            int first = starts[i], other = others ? other_starts[i] : 0;
            attend(layer, own + (size_t)first * 3 * width, starts[i + 1] - first, theirs + (size_t)other * 2 * width,
                   others ? other_starts[i + 1] - other : 0, across, values, weights, read + (size_t)first * width);
        }
        const float *norms = layer->norms;
        for (int t = 0; t < tokens; t += block) { /* block by block, so that the wide states stay near */
            int count = tokens - t < block ? tokens - t : block;
            float *x = states + (size_t)t * width, *change = read + (size_t)t * width;
            quantise(change, count, &in);
            multiply(layer->out, &in, count, 0, third, change, width, 0);
            for (int i = 0; i < count; i++)
                add_norm(x + (size_t)i * width, change + (size_t)i * width, norms, norms + width, width, layer->epsilon);
            quantise(x, count, &in);
            multiply(layer->up, &in, count, 0, inner / PANEL, wide, inner, 1);
            quantise(wide, count, &hidden);
            multiply(layer->down, &hidden, count, 0, third, change, width, 0);
            for (int i = 0; i < count; i++)
                add_norm(x + (size_t)i * width, change + (size_t)i * width, norms + 2 * width, norms + 3 * width, width,
                         layer->epsilon);
        }
    }
    free(in.values), free(in.scale), free(hidden.values), free(hidden.scale);
    free(own), free(theirs), free(read), free(wide), free(across), free(values), free(weights);
    return enough;
}

INLINE float dot(const float *a, const float *b, int width) {
    __m512 sum = _mm512_setzero_ps();
    for (int i = 0; i < width; i += LANES)
        sum = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), sum);
    return _mm512_reduce_add_ps(sum);
}

/* For each text the sum of its tokens' states, and for each word the best cosine with any of its tokens. */
FUNC void pool_texts(const float *states, const int32_t *starts, int texts, int width, const float *words, int count,
                     float *sums, float *best) {
    for (int i = 0; i < texts; i++) {
        float *sum = sums + (size_t)i * width, *most = best + (size_t)i * count;
        memset(sum, 0, sizeof(float) * width);
        for (int w = 0; w < count; w++)
            most[w] = -2.0f;
        for (int t = starts[i]; t < starts[i + 1]; t++) {
            const float *x = states + (size_t)t * width;
            for (int d = 0; d < width; d += LANES)
                _mm512_storeu_ps(sum + d, _mm512_add_ps(_mm512_loadu_ps(sum + d), _mm512_loadu_ps(x + d)));
            if (!count)
                continue;
            float length = __builtin_sqrtf(dot(x, x, width)), inverse = 1.0f / (length > 1e-12f ? length : 1e-12f);
            for (int w = 0; w < count; w++) {
                float cosine = dot(x, words + (size_t)w * width, width) * inverse;
                most[w] = cosine > most[w] ? cosine : most[w];
            }
        }
    }
}

/* For each text and word the largest sum, over the text's tokens, of the word's values, each with the sign that the
 * token has there: a set bit counts them up, another down. Four tokens at once, so that sums wait for each other less. */
FUNC void sign_texts(const uint8_t *bits, const int32_t *starts, int texts, int width, const float *words, int count,
                     float *best) {
    int bytes = width / 8;
    for (int i = 0; i < texts; i++)
        for (int w = 0; w < count; w++) {
            const float *word = words + (size_t)w * width;
            __m512 whole = _mm512_setzero_ps();
            for (int d = 0; d < width; d += LANES)
                whole = _mm512_add_ps(whole, _mm512_loadu_ps(word + d));
            float total = _mm512_reduce_add_ps(whole), most = -3e38f;
            for (int t = starts[i]; t < starts[i + 1]; t += 4) {
                const uint8_t *at[4];
                __m512 sum[4];
#pragma GCC unroll 4
                for (int k = 0; k < 4; k++) {
                    int token = t + k < starts[i + 1] ? t + k : t;
                    at[k] = bits + (size_t)token * bytes, sum[k] = _mm512_setzero_ps();
                }
                for (int d = 0; d < width; d += LANES) {
                    __m512 values = _mm512_loadu_ps(word + d);
#pragma GCC unroll 4
                    for (int k = 0; k < 4; k++) {
                        uint16_t set;
                        memcpy(&set, at[k] + d / 8, 2);
                        sum[k] = _mm512_mask_add_ps(sum[k], set, sum[k], values);
                    }
                }
                for (int k = 0; k < 4; k++) {
                    float value = 2 * _mm512_reduce_add_ps(sum[k]) - total;
                    most = value > most ? value : most;
                }
            }
            best[(size_t)i * count + w] = most;
        }
}

static int have_instructions(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

/* ---- the door: everything that comes from Python is checked here ---- */

static const char *LINEAR = "secondpass.Linear", *LAYER = "secondpass.Layer";

static void free_linear(PyObject *capsule) {
    Linear *map = PyCapsule_GetPointer(capsule, LINEAR);
    free(map->packed), free(map->scale), free(map);
}

static void free_layer(PyObject *capsule) {
    Layer *layer = PyCapsule_GetPointer(capsule, LAYER);
    for (int i = 0; i < 4; i++)
        Py_XDECREF(layer->owners[i]);
    free(layer->norms), free(layer);
}

static PyObject *wrong(const char *what) {
    PyErr_SetString(PyExc_ValueError, what);
    return NULL;
}

static PyObject *linear(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer weight, scale, bias;
    int inputs, outputs;
    if (!PyArg_ParseTuple(args, "y*y*y*ii", &weight, &scale, &bias, &inputs, &outputs))
        return NULL;
    PyObject *capsule = NULL;
    Linear *map = NULL;
    if (inputs < LANES || inputs % LANES || inputs > 1 << 16 || outputs < PANEL || outputs % PANEL || outputs > 1 << 16 ||
        weight.len != (Py_ssize_t)inputs * outputs || scale.len != (Py_ssize_t)sizeof(float) * outputs ||
        bias.len != scale.len) {
        wrong("linear: weight int8 [inputs, outputs], scale and bias float32 [outputs]; 16 divides inputs, 64 outputs");
    } else if (!(map = calloc(1, sizeof *map)) || !(map->packed = grab((size_t)inputs * outputs)) ||
               !(map->scale = grab(sizeof(float) * outputs * 3))) {
        PyErr_NoMemory();
    } else {
        map->inputs = inputs, map->outputs = outputs;
        map->bias = map->scale + outputs, map->sum = map->bias + outputs;
        memcpy(map->scale, scale.buf, scale.len);
        memcpy(map->bias, bias.buf, bias.len);
        const int8_t *from = weight.buf;
        Py_BEGIN_ALLOW_THREADS
        memset(map->sum, 0, sizeof(float) * outputs);
        for (int i = 0; i < inputs; i++)
            for (int panel = 0; panel < outputs / PANEL; panel++) {
                const int8_t *row = from + (size_t)i * outputs + panel * PANEL;
                uint8_t *to = map->packed + ((size_t)panel * inputs + i / 4 * 4) * PANEL + i % 4;
                for (int c = 0; c < PANEL; c++) {
                    to[c * 4] = (uint8_t)(row[c] + MAX_OFFSET);
                    map->sum[panel * PANEL + c] += row[c];
                }
            }
        Py_END_ALLOW_THREADS
        capsule = PyCapsule_New(map, LINEAR, free_linear);
    }
    if (!capsule && map)
        free(map->packed), free(map->scale), free(map);
    PyBuffer_Release(&weight), PyBuffer_Release(&scale), PyBuffer_Release(&bias);
    return capsule;
}

static PyObject *layer(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *maps[4];
    Py_buffer norms;
    int heads;
    float epsilon;
    if (!PyArg_ParseTuple(args, "OOOOy*if", &maps[0], &maps[1], &maps[2], &maps[3], &norms, &heads, &epsilon))
        return NULL;
    PyObject *capsule = NULL;
    const Linear *map[4];
    Layer *made = NULL;
    for (int i = 0; i < 4; i++)
        if (!(map[i] = PyCapsule_GetPointer(maps[i], LINEAR)))
            goto end;
    int width = map[0]->inputs;
    if (heads < 1 || width % PANEL || width % heads || (width / heads) % (2 * LANES) || map[0]->outputs != 3 * width ||
        map[1]->inputs != width || map[1]->outputs != width || map[2]->inputs != width ||
        map[3]->inputs != map[2]->outputs || map[3]->outputs != width ||
        norms.len != (Py_ssize_t)sizeof(float) * 4 * width) {
        wrong("layer: the shapes do not fit together, or a head is not a multiple of 32 wide");
        goto end;
    }
    if (!(made = calloc(1, sizeof *made)) || !(made->norms = grab(norms.len))) {
        free(made);
        PyErr_NoMemory();
        goto end;
    }
    memcpy(made->norms, norms.buf, norms.len);
    made->qkv = map[0], made->out = map[1], made->up = map[2], made->down = map[3];
    made->width = width, made->heads = heads, made->epsilon = epsilon;
    if (!(capsule = PyCapsule_New(made, LAYER, free_layer))) {
        free(made->norms), free(made);
        goto end;
    }
    for (int i = 0; i < 4; i++) {
        Py_INCREF(maps[i]);
        made->owners[i] = maps[i];
    }
end:
    PyBuffer_Release(&norms);
    return capsule;
}

/* Whether `starts` rises from 0 to the number of rows of `states`. */
static int fits(const Py_buffer *starts, const Py_buffer *states, int width) {
    Py_ssize_t texts = starts->len / (Py_ssize_t)sizeof(int32_t) - 1;
    if (texts < 1 || starts->len % (Py_ssize_t)sizeof(int32_t) || texts > 1 << 20)
        return 0;
    const int32_t *at = starts->buf;
    for (Py_ssize_t i = 0; i < texts; i++)
        if (at[i + 1] <= at[i])
            return 0;
    return at[0] == 0 && (Py_ssize_t)at[texts] * width * (Py_ssize_t)sizeof(float) == states->len;
}

static PyObject *run(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *capsule;
    Py_buffer states, starts, others = {0}, other_starts = {0};
    if (!PyArg_ParseTuple(args, "Ow*y*|y*y*", &capsule, &states, &starts, &others, &other_starts))
        return NULL;
    PyObject *done = NULL;
    const Layer *made = PyCapsule_GetPointer(capsule, LAYER);
    if (made && (!fits(&starts, &states, made->width) ||
                 (others.buf && (!fits(&other_starts, &others, made->width) || other_starts.len != starts.len)))) {
        wrong("run: states float32 [tokens, width], starts int32 [texts + 1] rising from 0 to tokens; others the same");
    } else if (made) {
        int enough;
        Py_BEGIN_ALLOW_THREADS
        enough = run_layer(made, states.buf, starts.buf, (int)(starts.len / 4) - 1, others.buf, other_starts.buf);
        Py_END_ALLOW_THREADS
        done = enough ? Py_NewRef(Py_None) : PyErr_NoMemory();
    }
    PyBuffer_Release(&states), PyBuffer_Release(&starts);
    if (others.buf)
        PyBuffer_Release(&others);
    if (other_starts.buf)
        PyBuffer_Release(&other_starts);
    return done;
}

static PyObject *norm(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer states, weights;
    float epsilon;
    if (!PyArg_ParseTuple(args, "w*y*f", &states, &weights, &epsilon))
        return NULL;
    PyObject *done = NULL;
    Py_ssize_t width = weights.len / 2 / (Py_ssize_t)sizeof(float);
    if (width < LANES || width % LANES || weights.len != 2 * width * (Py_ssize_t)sizeof(float) ||
        states.len % (width * (Py_ssize_t)sizeof(float))) {
        wrong("norm: states float32 [tokens, width], weight and bias float32 [2, width]; 16 divides width");
    } else {
        Py_BEGIN_ALLOW_THREADS
        float *x = states.buf, *end = x + states.len / sizeof(float);
        const float *weight = weights.buf;
        for (; x < end; x += width)
            add_norm(x, NULL, weight, weight + width, (int)width, epsilon);
        Py_END_ALLOW_THREADS
        done = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&states), PyBuffer_Release(&weights);
    return done;
}

static PyObject *pool(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer states, starts, words, sums, best;
    if (!PyArg_ParseTuple(args, "y*y*y*w*w*", &states, &starts, &words, &sums, &best))
        return NULL;
    PyObject *done = NULL;
    Py_ssize_t texts = starts.len / 4 - 1, width = texts > 0 ? sums.len / 4 / texts : 0;
    Py_ssize_t count = texts > 0 ? best.len / 4 / texts : 0;
    if (width < LANES || width % LANES || width > 1 << 16 || count > 1 << 16 || !fits(&starts, &states, (int)width) ||
        sums.len != texts * width * 4 || best.len != texts * count * 4 || words.len != count * width * 4) {
        wrong("pool: states [tokens, width], starts [texts + 1], words [n, width], sums [texts, width], best [texts, n]");
    } else {
        Py_BEGIN_ALLOW_THREADS
        pool_texts(states.buf, starts.buf, (int)texts, (int)width, words.buf, (int)count, sums.buf, best.buf);
        Py_END_ALLOW_THREADS
        done = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&states), PyBuffer_Release(&starts), PyBuffer_Release(&words), PyBuffer_Release(&sums);
    PyBuffer_Release(&best);
    return done;
}

static PyObject *signs(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer bits, starts, words, best;
    int width;
    if (!PyArg_ParseTuple(args, "y*y*y*w*i", &bits, &starts, &words, &best, &width))
        return NULL;
    PyObject *done = NULL;
    Py_ssize_t texts = starts.len / 4 - 1, count = texts > 0 ? best.len / 4 / texts : 0;
    Py_buffer states = bits;
    states.len = bits.len * 32; /* as if each bit were a float: the rows are counted alike */
    if (texts < 1 || width < LANES || width % LANES || width > 1 << 16 || count < 1 || count > 1 << 16 ||
        !fits(&starts, &states, width) || best.len != texts * count * 4 || words.len != count * width * 4) {
        wrong("signs: bits uint8 [tokens, width / 8], starts [texts + 1], words [n, width], best [texts, n]");
    } else {
        Py_BEGIN_ALLOW_THREADS
        sign_texts(bits.buf, starts.buf, (int)texts, width, words.buf, (int)count, best.buf);
        Py_END_ALLOW_THREADS
        done = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&bits), PyBuffer_Release(&starts), PyBuffer_Release(&words), PyBuffer_Release(&best);
    return done;
}

static PyObject *supported(PyObject *self, PyObject *none) {
    (void)self, (void)none;
    return PyBool_FromLong(have_instructions());
}

static PyMethodDef METHODS[] = {
    {"supported", supported, METH_NOARGS, "Whether this processor has AVX-512 VNNI."},
    {"linear", linear, METH_VARARGS, "linear(weight, scale, bias, inputs, outputs) -> Linear"},
    {"layer", layer, METH_VARARGS, "layer(qkv, out, up, down, norms, heads, epsilon) -> Layer"},
    {"run", run, METH_VARARGS, "run(layer, states, starts[, others, other_starts]): the next states, in place"},
    {"norm", norm, METH_VARARGS, "norm(states, weight_and_bias, epsilon): layer norm, in place"},
    {"pool", pool, METH_VARARGS, "pool(states, starts, words, sums, best): token sums and best cosines"},
    {"signs", signs, METH_VARARGS, "signs(bits, starts, words, best, width): best products with tokens' signs"},
    {NULL, NULL, 0, NULL},
};

#else /* another processor or compiler: ONNX Runtime does the work */

static PyObject *supported(PyObject *self, PyObject *none) {
    (void)self, (void)none;
    Py_RETURN_FALSE;
}

static PyMethodDef METHODS[] = {
    {"supported", supported, METH_NOARGS, "False: no kernels for this processor or compiler."},
    {NULL, NULL, 0, NULL},
};

#endif

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_kernels", "Transformer layers in 8 bits, see secondpass.native.", -1, METHODS,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels(void) {
    return PyModule_Create(&MODULE);
}
