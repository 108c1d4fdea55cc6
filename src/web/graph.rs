//! Where the boxes of a buildset's graph stand: a layered layout, from left to right.
//!
//! Pure and deterministic: the same graph always looks the same, so a state that changes recolours a box and moves
//! nothing. Layers by longest path, boxes without needs pulled to what needs them, long edges led through layers by
//! bends, crossings lessened by barycentre sweeps (the best order seen is kept), places by pooling neighbours that want
//! the same spot.

use std::collections::{BTreeMap, BTreeSet};

/// Width of a box.
pub const BOX_WIDTH: i32 = 196;
/// Height of a box.
pub const BOX_HEIGHT: i32 = 48;
/// Room between two layers, for the edges.
const LAYER_GAP: i32 = 64;
/// Room between two boxes of a layer.
const ROW_GAP: i32 = 16;
/// Room round everything, for outlines.
const MARGIN: i32 = 6;
/// Height that a passing edge takes up.
const BEND_HEIGHT: i32 = 12;
/// Rounds of lessening crossings.
const SWEEPS: usize = 24;

/// A laid-out graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Width of everything.
    pub width: i32,
    /// Height of everything.
    pub height: i32,
    /// The upper left corner of each node's box, in the order given.
    pub boxes: Vec<(i32, i32)>,
    /// Each edge's way, as the data of an SVG path, in the order given.
    pub paths: Vec<String>,
    /// The nodes in topological order, those of one layer from top to bottom.
    pub order: Vec<usize>,
}

/// A node of the layered graph: a box, or a bend of an edge that passes through a layer.
#[derive(Debug, Clone, Copy)]
struct Place {
    layer: usize,
    /// The middle, from the top.
    y: f64,
    height: i32,
}

/// Lays out `names.len()` nodes with edges from a needed node to the one that needs it, by index.
///
/// Edges that point to nothing or close a cycle (there are none in a graph that was accepted) are drawn but not obeyed.
pub fn lay_out(names: &[&str], edges: &[(usize, usize)]) -> Layout {
    let count = names.len();
    let sound: Vec<(usize, usize)> =
        edges.iter().copied().filter(|(from, to)| *from < count && *to < count && from != to).collect();
    let layers_of = layers(names, &sound);
    let mut places: Vec<Place> =
        layers_of.iter().map(|layer| Place { layer: *layer, y: 0.0, height: BOX_HEIGHT }).collect();
    let mut links = Vec::new();
    let mut ways: Vec<Vec<usize>> = Vec::new();
    for &(from, to) in edges {
        let mut way = vec![from.min(count), to.min(count)];
        if from < count && to < count {
            way = bend(from, to, &mut places);
            links.extend(way.windows(2).map(|pair| (pair[0], pair[1])));
        }
        ways.push(way);
    }
    let mut rows = first_rows(names, &places);
    lessen_crossings(&mut rows, &links, places.len());
    stack(&rows, &links, &mut places);
    finish(count, &rows, &places, &ways)
}

/// Gives each node its layer: the longest path from a node without needs, then pulled towards what needs it.
fn layers(names: &[&str], edges: &[(usize, usize)]) -> Vec<usize> {
    let mut layer = vec![0usize; names.len()];
    let mut open: Vec<usize> = vec![0; names.len()];
    edges.iter().for_each(|(_, to)| open[*to] += 1);
    let mut ready: BTreeSet<(&str, usize)> =
        (0..names.len()).filter(|node| open[*node] == 0).map(|node| (names[node], node)).collect();
    let mut order = Vec::new();
    while let Some((_, node)) = ready.pop_first() {
        order.push(node);
        for &(from, to) in edges.iter().filter(|(from, _)| *from == node) {
            layer[to] = layer[to].max(layer[from] + 1);
            open[to] -= 1;
            if open[to] == 0 {
                ready.insert((names[to], to));
            }
        }
    }
    for &node in order.iter().rev() {
        let has_needs = edges.iter().any(|(_, to)| *to == node);
        let nearest = edges.iter().filter(|(from, _)| *from == node).map(|(_, to)| layer[*to]).min();
        if let (false, Some(nearest)) = (has_needs, nearest) {
            layer[node] = layer[node].max(nearest.saturating_sub(1));
        }
    }
    layer
}

/// Leads an edge from layer to layer, by bends in between.
fn bend(from: usize, to: usize, places: &mut Vec<Place>) -> Vec<usize> {
    let mut way = vec![from];
    for layer in places[from].layer + 1..places[to].layer {
        way.push(places.len());
        places.push(Place { layer, y: 0.0, height: BEND_HEIGHT });
    }
    way.push(to);
    way
}

fn first_rows(names: &[&str], places: &[Place]) -> Vec<Vec<usize>> {
    let depth = places.iter().map(|place| place.layer + 1).max().unwrap_or(0);
    let mut rows = vec![Vec::new(); depth];
    let mut by_name: Vec<usize> = (0..places.len()).collect();
    by_name.sort_by_key(|place| (names.get(*place).is_none(), names.get(*place).copied().unwrap_or(""), *place));
    by_name.into_iter().for_each(|place| rows[places[place].layer].push(place));
    rows
}

fn lessen_crossings(rows: &mut Vec<Vec<usize>>, links: &[(usize, usize)], count: usize) {
    let (mut before, mut after) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for &(from, to) in links {
        before[to].push(from);
        after[from].push(to);
    }
    let mut best = (crossings(rows, &after, count), rows.clone());
    for sweep in 0..SWEEPS {
        let neighbours = if sweep % 2 == 0 { &before } else { &after };
        let order: Vec<usize> =
            if sweep % 2 == 0 { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for layer in order {
            let at = positions(rows, count);
            let middle = |place: &usize| {
                let near = &neighbours[*place];
                let sum: usize = near.iter().map(|other| at[*other]).sum();
                // Twice the mean in whole numbers, so that ties are ties; a place without neighbours stays.
                if near.is_empty() { at[*place] * 1024 } else { sum * 1024 / near.len() }
            };
            let mut row = rows[layer].clone();
            row.sort_by_key(|place| (middle(place), at[*place]));
            rows[layer] = row;
        }
        let crossed = crossings(rows, &after, count);
        if crossed < best.0 {
            best = (crossed, rows.clone());
        }
    }
    *rows = best.1;
}

fn positions(rows: &[Vec<usize>], count: usize) -> Vec<usize> {
    let mut at = vec![0; count];
    for row in rows {
        row.iter().enumerate().for_each(|(index, place)| at[*place] = index);
    }
    at
}

fn crossings(rows: &[Vec<usize>], after: &[Vec<usize>], count: usize) -> usize {
    let at = positions(rows, count);
    let mut total = 0;
    for row in rows {
        let mut seen: Vec<usize> = Vec::new();
        for place in row {
            let mut targets: Vec<usize> = after[*place].iter().map(|target| at[*target]).collect();
            targets.sort_unstable();
            for target in &targets {
                // What came before and lies beyond is crossed.
                total += seen.len() - seen.partition_point(|earlier| earlier <= target);
            }
            seen.extend(targets);
            seen.sort_unstable();
        }
    }
    total
}

/// Gives each place its height: near the mean of its neighbours, and never on top of another.
fn stack(rows: &[Vec<usize>], links: &[(usize, usize)], places: &mut [Place]) {
    for row in rows {
        let mut y = 0.0;
        for place in row {
            places[*place].y = y + f64::from(places[*place].height) / 2.0;
            y += f64::from(places[*place].height + ROW_GAP);
        }
    }
    let mut near: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &(from, to) in links {
        near.entry(from).or_default().push(to);
        near.entry(to).or_default().push(from);
    }
    for _ in 0..SWEEPS {
        for row in rows.iter().chain(rows.iter().rev()) {
            let wished: Vec<f64> = row.iter().map(|place| wish(*place, &near, places)).collect();
            let heights: Vec<f64> = row.iter().map(|place| f64::from(places[*place].height)).collect();
            for (place, y) in row.iter().zip(spread(&wished, &heights)) {
                places[*place].y = y;
            }
        }
    }
}

fn wish(place: usize, near: &BTreeMap<usize, Vec<usize>>, places: &[Place]) -> f64 {
    let Some(near) = near.get(&place) else { return places[place].y };
    let sum: f64 = near.iter().map(|other| places[*other].y).sum();
    #[expect(clippy::cast_precision_loss, reason = "a graph has fewer nodes than a float has whole numbers")]
    let mean = sum / near.len() as f64;
    mean
}

/// Brings middles as near to the wished ones as their heights allow, in order: pool adjacent violators.
fn spread(wished: &[f64], heights: &[f64]) -> Vec<f64> {
    // Shifted by what must lie before it, every middle wants its own place and order is all that is asked.
    let mut offsets = vec![0.0; wished.len()];
    for index in 1..wished.len() {
        offsets[index] = offsets[index - 1] + (heights[index - 1] + heights[index]) / 2.0 + f64::from(ROW_GAP);
    }
    let mut pools: Vec<(f64, f64)> = Vec::new();
    for (wish, offset) in wished.iter().zip(&offsets) {
        let mut pool = (wish - offset, 1.0);
        while let Some(last) = pools.last().copied().filter(|last| last.0 > pool.0) {
            pools.pop();
            pool = ((last.0 * last.1 + pool.0 * pool.1) / (last.1 + pool.1), last.1 + pool.1);
        }
        pools.push(pool);
    }
    let mut middles = Vec::with_capacity(wished.len());
    for (value, size) in pools {
        let mut left = size;
        while left > 0.5 {
            middles.push(value + offsets[middles.len()]);
            left -= 1.0;
        }
    }
    middles
}

fn finish(count: usize, rows: &[Vec<usize>], places: &[Place], ways: &[Vec<usize>]) -> Layout {
    let top = places.iter().map(|place| place.y - f64::from(place.height) / 2.0).fold(f64::INFINITY, f64::min);
    let middle = |place: usize| round(places[place].y - top) + MARGIN;
    let left = |place: usize| i32::try_from(places[place].layer).unwrap_or(0) * (BOX_WIDTH + LAYER_GAP) + MARGIN;
    let boxes: Vec<(i32, i32)> = (0..count).map(|node| (left(node), middle(node) - BOX_HEIGHT / 2)).collect();
    let height = (0..places.len()).map(|place| middle(place) + places[place].height / 2).max().unwrap_or(0) + MARGIN;
    let width = boxes.iter().map(|(x, _)| x + BOX_WIDTH).max().unwrap_or(0) + MARGIN;
    let paths = ways
        .iter()
        .map(|way| {
            if way.iter().any(|place| *place >= places.len()) {
                return String::new();
            }
            curve(way.iter().map(|place| (left(*place), middle(*place))).collect())
        })
        .collect();
    let order = rows.iter().flatten().copied().filter(|place| *place < count).collect();
    Layout { width, height, boxes, paths, order }
}

#[expect(clippy::cast_possible_truncation, reason = "a picture's size")]
fn round(value: f64) -> i32 {
    value.round() as i32
}

/// Draws an edge: out of a box on the right, through the bends of the layers between, into a box on the left.
fn curve(stations: Vec<(i32, i32)>) -> String {
    let Some((start_x, start_y)) = stations.first().copied() else { return String::new() };
    let mut at = (start_x + BOX_WIDTH, start_y);
    let mut path = format!("M{} {}", at.0, at.1);
    let last = stations.len() - 1;
    for (index, (x, y)) in stations.into_iter().enumerate().skip(1) {
        // The arrow's head has room before the box.
        let end = if index == last { x - 7 } else { x };
        let half = (end - at.0) / 2;
        path.push_str(&format!(" C{} {} {} {y} {end} {y}", at.0 + half, at.1, end - half));
        at = (end, y);
        if index < last {
            at.0 = x + BOX_WIDTH;
            path.push_str(&format!(" H{}", at.0));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_needed_stands_to_the_left_of_what_needs_it() {
        let layout = lay_out(&["lib", "app", "docs", "package"], &[(0, 1), (1, 3), (2, 3), (0, 3)]);
        let x: Vec<i32> = layout.boxes.iter().map(|(x, _)| *x).collect();
        assert!(x[0] < x[1] && x[1] < x[3]);
        assert_eq!(x[2], x[1], "a node without needs is pulled to what needs it");
        assert_eq!(layout.order.first(), Some(&0));
        assert_eq!(layout.order.last(), Some(&3));
        assert!(layout.paths[3].contains('H'), "a long edge passes the layer between: {}", layout.paths[3]);
    }

    #[test]
    fn an_empty_graph_and_a_single_box_have_a_size() {
        assert_eq!(lay_out(&[], &[]).width, MARGIN);
        let one = lay_out(&["check"], &[]);
        assert_eq!((one.boxes[0], one.width, one.height), ((6, 6), BOX_WIDTH + 12, BOX_HEIGHT + 12));
    }

    #[test]
    fn two_crossed_pairs_are_uncrossed() {
        let layout = lay_out(&["a", "b", "c", "d"], &[(0, 3), (1, 2)]);
        let (a, b, c, d) = (layout.boxes[0].1, layout.boxes[1].1, layout.boxes[2].1, layout.boxes[3].1);
        assert_eq!((a < b), (d < c));
    }

    #[test]
    fn five_hundred_nodes_are_laid_out_while_one_waits() {
        let names: Vec<String> = (0..500).map(|node| format!("node{node:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let edges: Vec<(usize, usize)> = (20..500).flat_map(|to| [(to - 20, to), (to - 1 - to % 20, to)]).collect();
        assert_eq!(lay_out(&names, &edges).boxes.len(), 500);
    }

    proptest! {
        #[test]
        fn no_two_boxes_touch_and_the_order_is_topological(
            count in 1usize..30, pairs in prop::collection::vec((0usize..30, 0usize..30), 0..60),
        ) {
            let names: Vec<String> = (0..count).map(|node| format!("n{node}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let edges: Vec<(usize, usize)> =
                pairs.into_iter().map(|(a, b)| (a % count, b % count)).filter(|(a, b)| a < b).collect();
            let layout = lay_out(&names, &edges);
            prop_assert_eq!(&layout, &lay_out(&names, &edges));
            for (index, a) in layout.boxes.iter().enumerate() {
                prop_assert!(a.0 >= 0 && a.1 >= 0 && a.0 + BOX_WIDTH <= layout.width && a.1 + BOX_HEIGHT <= layout.height);
                for b in &layout.boxes[index + 1..] {
                    prop_assert!(a.0 != b.0 || (a.1 - b.1).abs() >= BOX_HEIGHT, "{:?} {:?}", a, b);
                }
            }
            let mut rank = vec![0; count];
            layout.order.iter().enumerate().for_each(|(place, node)| rank[*node] = place);
            prop_assert_eq!(layout.order.len(), count);
            for (from, to) in edges {
                prop_assert!(rank[from] < rank[to]);
            }
        }
    }
}
