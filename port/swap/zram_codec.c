/* SPDX-License-Identifier: MIT */
/*
 * zram_codec.c - the two compressors, each page by itself.
 */
#include <lz4.h>
#include <stdlib.h>
#include <zstd.h>

#include "zram.h"

/* ---- LZ4: its state is memory, and decompressing has none ---- */

static bool lz4_open(struct zram_ws *ws)
{
	ws->enc = malloc((size_t)LZ4_sizeofState());
	return ws->enc;
}

static void lz4_close(struct zram_ws *ws)
{
	free(ws->enc);
}

static u32 lz4_compress(struct zram_ws *ws, int level, const void *page)
{
	u32 n = (u32)LZ4_compress_fast_extState(ws->enc, page, (char *)ws->out, PAGE_SIZE,
						ZRAM_WORTH, level ? level : 1);

	swapdev_written(ws->out, n);
	return n;
}

static bool lz4_decompress(struct zram_ws *ws, const void *src, u32 size, void *page)
{
	swapdev_written(page, PAGE_SIZE);
	return LZ4_decompress_safe(src, page, (int)size, PAGE_SIZE) == (int)PAGE_SIZE;
}

/* ---- zstd ---- */

static bool zstd_open(struct zram_ws *ws)
{
	ws->enc = ZSTD_createCCtx();
	ws->dec = ZSTD_createDCtx();
	return ws->enc && ws->dec;
}

static void zstd_close(struct zram_ws *ws)
{
	ZSTD_freeCCtx(ws->enc);
	ZSTD_freeDCtx(ws->dec);
}

static u32 zstd_compress(struct zram_ws *ws, int level, const void *page)
{
	size_t n = ZSTD_compressCCtx(ws->enc, ws->out, ZRAM_WORTH, page, PAGE_SIZE,
				     level ? level : ZSTD_CLEVEL_DEFAULT);

	if (ZSTD_isError(n))
		return 0;
	swapdev_written(ws->out, n);
	return (u32)n;
}

static bool zstd_decompress(struct zram_ws *ws, const void *src, u32 size, void *page)
{
	swapdev_written(page, PAGE_SIZE);
	return ZSTD_decompressDCtx(ws->dec, page, PAGE_SIZE, src, size) == PAGE_SIZE;
}

const struct zram_codec zram_codecs[NR_SWAPDEV_CODECS] = {
	[SWAPDEV_LZ4] = { "lz4", 1, 65537, lz4_open, lz4_close, lz4_compress, lz4_decompress },
	[SWAPDEV_ZSTD] = { "zstd", 1, 19, zstd_open, zstd_close, zstd_compress, zstd_decompress },
};

bool zram_ws_open(const struct zram_codec *codec, struct zram_ws *ws)
{
	pthread_mutex_init(&ws->lock, NULL);
	ws->out = swapdev_map(2 * PAGE_SIZE);
	ws->in = ws->out ? ws->out + PAGE_SIZE : NULL;
	return codec->open(ws) && ws->out;
}

void zram_ws_close(const struct zram_codec *codec, struct zram_ws *ws)
{
	codec->close(ws);
	swapdev_unmap(ws->out, 2 * PAGE_SIZE);
	pthread_mutex_destroy(&ws->lock);
}
