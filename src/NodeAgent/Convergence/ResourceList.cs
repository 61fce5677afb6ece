namespace NodeAgent.Convergence;

/// <summary>Resources in the order in which they are carried out. What a resource names must stand before it, so no order has to be inferred.</summary>
internal sealed class ResourceList
{
    private readonly Dictionary<Resource, List<Resource>> _answering;

    public ResourceList(IEnumerable<Resource> resources)
    {
        Items = [.. resources];
        _answering = [];
        var earlier = new HashSet<Resource>();
        var ids = new HashSet<string>(StringComparer.Ordinal);
        foreach (var resource in Items)
        {
            if (!ids.Add(resource.Id))
            {
                throw new ArgumentException($"{resource.Id} stands twice in the list");
            }

            foreach (var named in resource.Needs.Concat(resource.Inputs))
            {
                if (!earlier.Contains(named))
                {
                    throw new ArgumentException($"{resource.Id} names {named.Id}, which does not stand before it");
                }
            }

            foreach (var input in resource.Inputs)
            {
                if (!_answering.TryGetValue(input, out var answering))
                {
                    _answering[input] = answering = [];
                }

                answering.Add(resource);
            }

            earlier.Add(resource);
        }
    }

    private ResourceList(ResourceList whole, Func<Resource, bool> chosen) =>
        (Items, _answering, Warnings) = ([.. whole.Items.Where(chosen)], whole._answering, whole.Warnings);

    public IReadOnlyList<Resource> Items { get; }

    /// <summary>
    /// Some of the list, in its order. What they need and is not among them is taken to hold; what answers to them is told of their changes all the same.
    /// </summary>
    public ResourceList Only(Func<Resource, bool> chosen) => new(this, chosen);

    /// <summary>What was allowed by name and is not known to work, or could not be checked.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>The resources that have <paramref name="input"/> among their inputs.</summary>
    public IReadOnlyList<Resource> Answering(Resource input) => _answering.TryGetValue(input, out var answering) ? answering : [];
}
