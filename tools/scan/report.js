/* SPDX-License-Identifier: Apache-2.0 */
/* Adds to the page: pointing at the heat map, and sorting and filtering the table. All text goes in as text nodes. */
"use strict";
(function () {
	const data = JSON.parse(document.getElementById("data").textContent);
	const NAME = 0, DTYPE = 1, SHAPE = 2, SRC = 3, DIST = 4, INF = 5, CODING_D = 6, CODING_I = 7, ENTROPY = 8, TOP16 = 9,
		ESC_D = 10, ROLE = 12, LAYER = 13;
	const PAGE = 100;
	const columns = data.columns, rows = data.rows, tensors = data.tensors;

	document.documentElement.classList.add("hasjs");

	function element(tag, css, text) {
		const e = document.createElement(tag);
		if (css)
			e.className = css;
		if (text !== undefined)
			e.textContent = text;
		return e;
	}

	function human(n) {
		const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
		let u = 0;
		while (n >= 1024 && u < units.length - 1) {
			n /= 1024;
			u++;
		}
		return (u === 0 ? n : n.toFixed(2)) + " " + units[u];
	}

	/* A name that may be broken into lines where its parts end. */
	function named(tag, name) {
		const e = element(tag);
		for (const part of name.match(/[^._/]*[._/]?/g))
			e.append(part, element("wbr"));
		return e;
	}

	const isBf16 = t => t[DTYPE] === "BF16";
	const rate = (t, column) => t[SRC] ? t[column] / t[SRC] * (isBf16(t) ? 16 : 100) : 0;

	/* Three digits, two of small shares. */
	function percent(share) {
		const p = 100 * share, digits = p >= 1 ? 2 : 1;
		return share === 0 ? "none" : p.toFixed(Math.min(20, Math.max(0, digits - Math.floor(Math.log10(p))))) + " %";
	}

	/* ---- heat map ---- */

	function digit(i) {
		const c = data.cells.charCodeAt(i);
		return c >= 97 ? c - 71 : c >= 65 ? c - 65 : c >= 48 ? c + 4 : c === 43 ? 62 : 63;
	}

	function share(row, column) {
		const i = 2 * (row * columns.length + column), code = digit(i) << 6 | digit(i + 1);
		return code === 0 ? 0 : Math.pow(2, 40 * ((code - 1) / 4094 - 1));
	}

	function describe(box, row, column) {
		const t = tensors[rows[row]], e = columns[column], text = element("div");
		const name = element("div");
		name.append(named("code", t[NAME]));
		const facts = element("div", "minor", t[DTYPE] + " " + t[SHAPE] + " \u00b7 " +
			(t[LAYER] >= 0 ? "layer " + t[LAYER] + " \u00b7 " : "") + t[ROLE] + " \u00b7 entropy " + t[ENTROPY].toFixed(3) + " bits \u00b7 " +
			rate(t, DIST).toFixed(2) + " and " + rate(t, INF).toFixed(2) + " bits per weight");
		const here = element("div");
		here.append("Exponent " + e + ": ");
		if (e === 0) {
			here.append("zeros and subnormals, ");
		} else if (e === 255) {
			here.append("infinities and NaNs, ");
		} else {
			here.append("magnitudes from 2", element("sup", "", String(e - 127).replace("-", "\u2212")), ", ");
		}
		here.append(element("b", "", percent(share(row, column))), share(row, column) > 0 ? " of its weights" : "");
		text.append(name, facts, here, histogram(row, column));
		box.replaceChildren(text);
	}

	function histogram(row, column) {
		const ns = "http" + "://www.w3.org/2000/svg", svg = document.createElementNS(ns, "svg");
		let most = 0;
		for (let c = 0; c < columns.length; c++)
			most = Math.max(most, share(row, c));
		svg.setAttribute("viewBox", "0 0 " + 10 * columns.length + " 100");
		svg.setAttribute("preserveAspectRatio", "none");
		for (let c = 0; c < columns.length; c++) {
			const s = share(row, c), bar = document.createElementNS(ns, "rect");
			if (s === 0 && c !== column)
				continue;
			const h = Math.max(2, 100 * s / most);
			bar.setAttribute("x", 10 * c);
			bar.setAttribute("width", 9);
			bar.setAttribute("y", 100 - h);
			bar.setAttribute("height", h);
			if (c === column)
				bar.setAttribute("class", "here");
			svg.append(bar);
		}
		return svg;
	}

	function setUpMap() {
		const box = document.getElementById("mapbox"), readout = document.getElementById("readout");
		if (!box)
			return;
		const cross = element("div", "cross"), total = data.runs.reduce((sum, run) => sum + run[2], 0);
		let row = 0, column = 0;

		/* Runs are [first row, rows, lines of the picture]. */
		function rowAt(line) {
			for (const [first, n, lines] of data.runs) {
				if (line < lines)
					return first + Math.floor(line * n / lines);
				line -= lines;
			}
			return rows.length - 1;
		}

		function lineOf(r) {
			let above = 0;
			for (const [first, n, lines] of data.runs) {
				if (r < first + n)
					return [above + (r - first) * lines / n, lines / n];
				above += lines;
			}
			return [0, 1];
		}

		function show() {
			const [line, height] = lineOf(row);
			cross.style.left = 100 * column / columns.length + "%";
			cross.style.width = 100 / columns.length + "%";
			cross.style.top = 100 * line / total + "%";
			cross.style.height = Math.max(3, box.clientHeight * height / total) + "px";
			box.append(cross);
			describe(readout, row, column);
		}

		function point(event) {
			const r = box.getBoundingClientRect(), inside = x => Math.min(Math.max(x, 0), 0.999999);
			row = rowAt(inside((event.clientY - r.top) / r.height) * total);
			column = Math.floor(inside((event.clientX - r.left) / r.width) * columns.length);
			show();
		}

		const moves = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
		box.tabIndex = 0;
		box.setAttribute("role", "application");
		box.setAttribute("aria-label", "Heat map of exponents; arrow keys move");
		box.addEventListener("pointermove", point);
		box.addEventListener("pointerdown", point);
		box.addEventListener("keydown", event => {
			const move = moves[event.key];
			if (!move)
				return;
			event.preventDefault();
			row = Math.min(Math.max(row + move[0], 0), rows.length - 1);
			column = Math.min(Math.max(column + move[1], 0), columns.length - 1);
			show();
		});
		/* The readout has its place from the start, so that nothing jumps. */
		let most = 0;
		for (let c = 0; c < columns.length; c++) {
			if (share(0, c) > share(0, most))
				most = c;
		}
		describe(readout, 0, most);
	}

	/* ---- table ---- */

	/* Sort keys by column of the table. */
	const keys = [
		t => t[NAME], t => t[DTYPE], t => t[SHAPE], t => t[SRC], t => t[SRC] - t[DIST],
		t => rate(t, DIST) / (isBf16(t) ? 16 : 100), t => t[CODING_D], t => rate(t, INF) / (isBf16(t) ? 16 : 100), t => t[CODING_I],
		t => isBf16(t) ? t[ENTROPY] : -1, t => isBf16(t) ? t[TOP16] : -1, t => isBf16(t) ? t[ESC_D] : -1
	];

	function beforeAfter(t) {
		const ba = element("div", "ba");
		[DIST, INF].forEach((column, p) => {
			const bar = element("i", "p" + p);
			bar.style.width = (t[SRC] ? Math.min(100, 100 * t[column] / t[SRC]) : 0) + "%";
			ba.append(bar);
		});
		ba.title = human(t[SRC]) + ", distribution " + human(t[DIST]) + ", inference " + human(t[INF]);
		return ba;
	}

	function tableRow(t, most) {
		const tr = element("tr"), th = named("th", t[NAME]), cell = element("td", "bacell"), b = isBf16(t);
		const size = element("td", "n size", human(t[SRC]));
		size.style.setProperty("--part", 100 * t[SRC] / most + "%");
		th.scope = "row";
		cell.append(beforeAfter(t));
		tr.append(th, element("td", "", t[DTYPE]), element("td", "w", t[SHAPE]), size, cell,
			element("td", "n", rate(t, DIST).toFixed(b ? 2 : 1)), element("td", "c", t[CODING_D]),
			element("td", "n", rate(t, INF).toFixed(b ? 2 : 1)), element("td", "c", t[CODING_I]),
			element("td", "n", b ? t[ENTROPY].toFixed(3) : ""), element("td", "n w", b ? t[TOP16].toFixed(3) : ""),
			element("td", "n w", b ? t[ESC_D].toFixed(4) : ""));
		return tr;
	}

	function setUpTable() {
		const table = document.querySelector(".tensors");
		if (!table)
			return;
		const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], tools = document.getElementById("tools");
		const most = Math.max(1, tensors[0][SRC]), collator = new Intl.Collator("en", {numeric: true});
		let list = tensors, first = 0, sorted = 3, sign = -1;

		const filter = element("input"), back = element("button", "", "\u2039 Back"), next = element("button", "", "Next \u203a");
		const where = element("span", "where");
		filter.type = "search";
		filter.placeholder = "Filter: words of name, type, role, coding";
		filter.setAttribute("aria-label", "Filter the tensors");
		where.setAttribute("aria-live", "polite");

		function show() {
			body.replaceChildren(...list.slice(first, first + PAGE).map(t => tableRow(t, most)));
			back.disabled = first === 0;
			next.disabled = first + PAGE >= list.length;
			back.hidden = next.hidden = list.length <= PAGE;
			where.textContent = list.length === 0 ? "no tensor matches" :
				(first + 1) + "\u2013" + Math.min(first + PAGE, list.length) + " of " + list.length;
			heads.forEach((th, i) => {
				if (i === sorted)
					th.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
				else
					th.removeAttribute("aria-sort");
			});
		}

		function select() {
			const words = filter.value.toLowerCase().split(/\s+/).filter(w => w);
			const key = keys[sorted];
			list = tensors.filter(t => {
				const text = [t[NAME], t[DTYPE], t[ROLE], t[CODING_D], t[CODING_I]].join(" ").toLowerCase();
				return words.every(w => text.includes(w));
			}).sort((a, b) => {
				const x = key(a), y = key(b);
				return sign * (typeof x === "string" ? collator.compare(x, y) : x - y);
			});
			first = 0;
			show();
		}

		heads.forEach((th, i) => {
			const button = element("button", "", th.textContent);
			button.type = "button";
			button.addEventListener("click", () => {
				sign = i === sorted ? -sign : typeof keys[i](tensors[0]) === "string" ? 1 : -1;
				sorted = i;
				select();
			});
			th.replaceChildren(button);
		});
		filter.addEventListener("input", select);
		back.addEventListener("click", () => { first -= PAGE; show(); });
		next.addEventListener("click", () => { first += PAGE; show(); });
		tools.append(filter, where, back, next);
		show();
	}

	setUpMap();
	setUpTable();
})();
